"""Plots of the results."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from timing import rounded

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = {"forward": "#7fb3d5", "forward+backward": "#1a5276"}


def draw_layer_grid(folder: Path, names: Iterable[str]) -> None:
    """Draw ratios and times of all peers that have results in a folder.

    Args:
        folder: where ``<peer>.json`` are, and where ``layer_grid.png`` goes.
        names: of the peers, in the order of the plot.
    """
    files = [folder / f"{name}.json" for name in names]
    results = [json.loads(file.read_text()) for file in files if file.exists()]
    results = [result for result in results if result["points"]]
    if not results:
        return
    counts = [len(result["points"]) for result in results]
    figure, axes = plt.subplots(
        len(results),
        2,
        figsize=(12, 1.2 * len(results) + 0.55 * sum(counts)),
        height_ratios=[count + 0.6 for count in counts],
        sharex="col",
        squeeze=False,
        layout="constrained",
    )
    for (left, right), result in zip(axes, results, strict=True):
        _draw_peer(left, right, result)
    ratios = [
        times["ratio"]
        for result in results
        for point in result["points"]
        for times in point["times"].values()
    ]
    axes[0, 0].set_xlim(min(0.5, *ratios) / 2, max(2, *ratios) * 3)
    axes[0, 1].legend(loc="lower right", bbox_to_anchor=(1, 1.0), ncols=2, fontsize=8)
    axes[-1, 0].set_xlabel("time of the peer / time of hybridlit (median of pairs, quartiles)")
    axes[-1, 1].set_xlabel("milliseconds a batch")
    machine = results[0]["machine"]
    figure.suptitle(
        f"hybridlit against its peers: {machine['cpu']}, {machine['cores_used']} of "
        f"{machine['cores']} cores, torch {results[0]['versions']['torch']}"
    )
    figure.savefig(folder / "layer_grid.png", dpi=110)
    plt.close(figure)


def _draw_peer(left: Any, right: Any, result: dict[str, Any]) -> None:
    points = result["points"]
    rows = np.arange(len(points))
    for direction, colour in COLOURS.items():
        offset = 0.2 if direction == "forward+backward" else -0.2
        timed = [
            (row + offset, point["times"][direction])
            for row, point in zip(rows, points, strict=True)
            if direction in point["times"]
        ]
        if not timed:
            continue
        at, times = zip(*timed, strict=True)
        ratios = np.array([entry["ratio"] for entry in times])
        quartiles = np.array([entry["ratio_quartiles"] or [entry["ratio"]] * 2 for entry in times])
        spread = np.abs(quartiles.T - ratios)
        left.barh(at, ratios - 1, 0.38, left=1, color=colour, xerr=spread)
        for row, ratio, ends in zip(at, ratios, quartiles, strict=True):
            where = (max(*ends, ratio, 1), row)
            left.annotate(rounded(ratio), where, (5, -3), textcoords="offset points", fontsize=8)
        for who, marker in (("ours", "o"), ("peer", "x")):
            label = f"{'hybridlit' if who == 'ours' else 'peer'}, {direction}"
            milliseconds = [entry[f"{who}_ms"] for entry in times]
            right.plot(milliseconds, at, marker, color=colour, label=label)
    labels = [
        f"({point['modes']}, {point['photons']}, {point['batch']}) {point['space']}"
        for point in points
    ]
    for axis in (left, right):
        axis.set_xscale("log")
        axis.set_yticks(rows, labels if axis is left else [])
        axis.set_ylim(len(points) - 0.4, -0.6)
        axis.grid(axis="x", which="both", alpha=0.25)
    left.axvline(1, color="black", linewidth=0.8)
    other = "" if result["same_circuit"] else ", OTHER PHYSICS"
    left.set_title(f"{result['label']}{other}", loc="left", fontsize=10)


def draw_scaling(folder: Path) -> None:
    """Draw time and memory against each swept size.

    Args:
        folder: where ``scaling.json`` is, and where ``scaling.png`` goes.
    """
    result = json.loads((folder / "scaling.json").read_text())
    sweeps = result["sweeps"]
    figure, axes = plt.subplots(
        2, len(sweeps), figsize=(4 * len(sweeps), 7), squeeze=False, layout="constrained"
    )
    for (above, below), (swept, points) in zip(axes.T, sweeps.items(), strict=True):
        at = [point[swept] for point in points]
        for direction, colour in COLOURS.items():
            times = [point[f"{direction}_ms"] for point in points]
            above.plot(at, times, "o-", color=colour, label=direction)
        below.plot(
            at,
            [point["memory_mib"] for point in points],
            "o-",
            color="#922b21",
            label="peak above the start",
        )
        below.plot(
            at,
            [point["states_mib"] for point in points],
            "--",
            color="grey",
            label="amplitudes of all layers",
        )
        fixed = [
            f"{name} {points[0][name]}" for name in ("modes", "photons", "batch") if name != swept
        ]
        above.set_title(", ".join(fixed), fontsize=10)
        below.set_yscale("symlog", linthresh=1)
        below.set_ylim(bottom=0)
        below.set_xlabel(swept)
        above.set_yscale("log")
        for axis in (above, below):
            if swept != "photons":
                axis.set_xscale("log", base=2)
            axis.set_xticks(at, [str(size) for size in at])
            axis.minorticks_off()
            axis.grid(alpha=0.25)
    axes[0, 0].set_ylabel("milliseconds a batch")
    axes[1, 0].set_ylabel("MiB, forward+backward")
    axes[0, 0].legend(fontsize=8)
    axes[1, 0].legend(fontsize=8)
    machine = result["machine"]
    figure.suptitle(f"hybridlit: {machine['cpu']}, {machine['cores_used']} core(s)")
    figure.savefig(folder / "scaling.png", dpi=110)
    plt.close(figure)


def draw_roofline(folder: Path) -> None:
    """Draw the machine's bounds and the recursion below them.

    Args:
        folder: where ``roofline.json`` is, and where ``roofline.png`` goes.
    """
    result = json.loads((folder / "roofline.json").read_text())
    peak, bandwidth = max(result["peak_gflops"].values()), result["copy_gbytes_per_s"]
    figure, axis = plt.subplots(figsize=(7, 5), layout="constrained")
    intensity = np.geomspace(0.5, 2000, 200)
    axis.plot(intensity, np.minimum(peak, bandwidth * intensity), color="black")
    method = max(result["peak_gflops"], key=result["peak_gflops"].__getitem__)
    axis.annotate(f"{peak:.0f} GFLOP/s ({method})", (60, peak), (0, 4), textcoords="offset points")
    axis.annotate(f"{bandwidth:.0f} GB/s (copy)", (1.2, bandwidth))
    for entry, marker in zip(result["recursion"], cycle("osD^v"), strict=False):
        sizes = f"({entry['modes']}, {entry['photons']}, {entry['batch']})"
        for direction, colour in COLOURS.items():
            part = entry[direction]
            axis.plot(
                part["flops"] / part["least_bytes"],
                part["gflops"],
                marker,
                color=colour,
                label=f"{sizes} {direction}: {part['share_of_peak']:.1%} of the peak",
            )
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="real operations per byte that must cross memory",
        ylabel="GFLOP/s",
        title=f"hybridlit's amplitude recursion, one core of {result['machine']['cpu']}",
    )
    axis.grid(which="both", alpha=0.2)
    axis.legend(loc="lower right")
    figure.savefig(folder / "roofline.png", dpi=110)
    plt.close(figure)
