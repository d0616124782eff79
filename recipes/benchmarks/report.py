"""Fill the tables of the README from the results.

python recipes/benchmarks/report.py
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from layer_step import table as table_of_steps
from peers import PEERS
from threads import table as table_of_threads
from timing import rounded

HERE = Path(__file__).parent


def main(folder: Path = HERE / "results", readme: Path = HERE / "README.md") -> int:
    """Rewrite what stands between ``<!-- name -->`` and ``<!-- /name -->``.

    Args:
        folder: where the results are.
        readme: the file to fill.

    Returns:
        Exit status 0.
    """
    text = readme.read_text()
    tables = {
        "layer_grid": layer_grid,
        "layer_step": layer_step,
        "threads": threads,
        "training": training,
        "device": device,
        "scaling": scaling,
        "roofline": roofline,
        "claims": claims,
        "states": states,
        "noise": noise,
        "shots": shots,
    }
    for name, table in tables.items():
        marks = re.compile(f"(<!-- {name} -->\n).*(<!-- /{name} -->)", re.DOTALL)
        filled = table(folder)
        text = marks.sub(lambda found, filled=filled: found[1] + filled + found[2], text)
    readme.write_text(text)
    return 0


def layer_grid(folder: Path) -> str:
    """Return the tables of all peers as Markdown."""
    parts = []
    for name, peer in PEERS.items():
        result = _load(folder / f"{name}.json")
        if result is None:
            parts.append(f"**{peer.label}**: not measured.\n")
            continue
        versions = ", ".join(
            f"{package} {result['versions'][package]}" for package in peer.distributions
        )
        parts.append(
            f"**{peer.label}** ({versions}; {result['dtype']['peer']}). {result['note']}\n"
            f"\n`{result['command']}`\\\n{_circumstances(result)}\n\n"
            "| modes, photons, batch | space | outcomes | | hybridlit ms | peer ms | ratio | "
            "quartiles | distributions differ by |\n|---|---|---|---|---|---|---|---|---|\n"
            + "".join(_rows(point) for point in result["points"])
            + "".join(
                f"| geometric mean | | | {direction} | | | **{rounded(mean)}** | | |\n"
                for direction, mean in result["geometric_means"].items()
            )
        )
    return "\n".join(parts)


def scaling(folder: Path) -> str:
    """Return the table of time and memory as Markdown."""
    result = _load(folder / "scaling.json")
    if result is None:
        return "Not measured.\n"
    rows = [
        f"| {point['modes']}, {point['photons']}, {point['batch']} | {point['outcomes']} | "
        f"{rounded(point['forward_ms'])} | {rounded(point['forward+backward_ms'])} | "
        f"{point['memory_mib']:.1f} | {point['states_mib']:.1f} |\n"
        for points in result["sweeps"].values()
        for point in points
    ]
    return (
        f"`{result['command']}`\\\n{_circumstances(result)}\n\n"
        "| modes, photons, batch | outcomes | forward ms | forward+backward ms | peak MiB | "
        "amplitudes of all layers MiB |\n|---|---|---|---|---|---|\n" + "".join(rows)
    )


def roofline(folder: Path) -> str:
    """Return the table of the recursion's achieved rates as Markdown."""
    result = _load(folder / "roofline.json")
    if result is None:
        return "Not measured.\n"
    peaks = ", ".join(f"{value:.0f} by {name}" for name, value in result["peak_gflops"].items())
    rows = [
        f"| {entry['modes']}, {entry['photons']}, {entry['batch']} | {direction} | "
        f"{rounded(entry[direction]['ms'])} | {rounded(entry[direction]['gflops'])} | "
        f"{entry[direction]['share_of_peak']:.1%} | {entry[direction]['bound']} | "
        f"{entry[direction]['share_of_bound']:.1%} |\n"
        for entry in result["recursion"]
        for direction in ("forward", "forward+backward")
    ]
    return (
        f"`{result['command']}`\\\n{_circumstances(result)}\\\n"
        f"Peak in float32, GFLOP/s: {peaks}. Copying: {result['copy_gbytes_per_s']:.0f} GB/s.\n\n"
        "| modes, photons, batch | | ms | GFLOP/s | of the highest peak | bound by | of the bound "
        "|\n|---|---|---|---|---|---|---|\n" + "".join(rows)
    )


def _in_words(value: Any) -> str:
    """A number, or several by name."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_in_words(each)}" for name, each in value.items())
    return rounded(value) if isinstance(value, (int, float)) else str(value)


def claims(folder: Path) -> str:
    """Return the list of single numbers as Markdown."""
    result = _load(folder / "claims.json")
    if result is None:
        return "Not measured.\n"
    parts = []
    for entry in result.values():
        found = entry["found"]
        points = found.pop("points", [])
        values = [f"{name} {_in_words(value)}" for name, value in found.items()]
        values += [
            f"{tuple(p['point'])} "
            + "; ".join(
                f"predicted {rounded(p[f'predicted_{unit}'])} {word}, measured "
                f"{rounded(p[f'measured_{unit}'])} {word}"
                for unit, word in (("ms", "ms"), ("mib", "MiB"))
                if f"predicted_{unit}" in p
            )
            for p in points
        ]
        parts.append(
            f"**{entry['what']}** `{entry['command']}`\\\n{_circumstances(entry)}\n\n"
            + "".join(f"- {value}\n" for value in values)
        )
    return "\n".join(parts)


def layer_step(folder: Path) -> str:
    """Return the table of a layer's step in three conditions as Markdown."""
    result = _load(folder / "layer_step.json")
    if result is None:
        return "Not measured.\n"
    return f"`{result['command']}`\\\n{_circumstances(result)}\n\n{table_of_steps(result)}"


def threads(folder: Path) -> str:
    """Return the table of a layer's step on one thread and on several as Markdown."""
    result = _load(folder / "threads.json")
    if result is None:
        return "Not measured.\n"
    table = table_of_threads(result["points"])
    return f"`{result['command']}`\\\n{_circumstances(result)}\n\n{table}"


def training(folder: Path) -> str:
    """Return the table of epochs of recipes as Markdown."""
    result = _load(folder / "training.json")
    if result is None:
        return "Not measured.\n"
    arms = list(dict.fromkeys(arm for taken in result["recipes"].values() for arm in taken))
    lines = ["recipe | " + " | ".join(f"{arm}, ms" for arm in arms), "---" + " | ---" * len(arms)]
    for recipe, taken in result["recipes"].items():
        cells = [rounded(1e3 * taken[arm]) if arm in taken else "" for arm in arms]
        lines.append(" | ".join([recipe, *cells]))
    table = "".join(f"| {line} |\n" for line in lines)
    return f"`{result['command']}`\\\n{_circumstances(result)}\n\n{table}"


def device(folder: Path) -> str:
    """Return the table of an accelerator beside a core as Markdown."""
    result = _load(folder / "device.json")
    if result is None:
        return "Not measured.\n"
    heads = ["core", "device", "device_graph"]
    lines = ["modes, photons, batch | " + " | ".join(f"{head} ms" for head in heads)]
    lines.append("---" + " | ---" * len(heads))
    for row in result["rows"]:
        cells = [rounded(row[f"{head}_ms"]) if f"{head}_ms" in row else "" for head in heads]
        lines.append(" | ".join([_size(row), *cells]))
    table = "".join(f"| {line} |\n" for line in lines)
    return f"`{result['command']}`, {result['device']}\\\n{_circumstances(result)}\n\n{table}"


def states(folder: Path) -> str:
    """Return the table of components, amplitudes and kernels against MerLin as Markdown."""
    return _compared_by_point(
        folder / "states.json",
        "what | modes, photons, batch | | hybridlit ms | MerLin ms | ratio | quartiles | "
        "values differ by",
        lambda point: [
            f"{point['case']} | {_size(point)} | {direction} | {_compared(times)} | "
            f"{point['difference']:.0e}"
            for direction, times in point["times"].items()
        ],
    )


def noise(folder: Path) -> str:
    """Return the table of noisy layers against ideal ones and MerLin as Markdown."""
    return _compared_by_point(
        folder / "noise.json",
        "noise | modes, photons, batch | what, and beside | noisy ms | other ms | ratio | "
        "quartiles",
        lambda point: [
            f"{point['noise']} | {_size(point)} | {what} | {_compared(times)}"
            for what, times in point["times"].items()
        ],
    )


def shots(folder: Path) -> str:
    """Return the table of counts drawn, against MerLin's sampler, as Markdown."""
    return _compared_by_point(
        folder / "shots.json",
        "modes, photons, rows | shots a row | hybridlit ms | MerLin ms | ratio | quartiles",
        lambda point: [f"{_size(point)} | {point['shots']:,} | {_compared(point['times'])}"],
    )


def _compared_by_point(
    file: Path, header: str, rows_of: Callable[[dict[str, Any]], list[str]]
) -> str:
    """A table with a header and the rows of each point of a result."""
    result = _load(file)
    if result is None:
        return "Not measured.\n"
    lines = [header, " | ".join("---" for _ in header.split("|"))]
    lines += [row for point in result["points"] for row in rows_of(point)]
    table = "".join(f"| {line} |\n" for line in lines)
    return f"`{result['command']}`\\\n{_circumstances(result)}\n\n{table}"


def _size(point: dict[str, Any]) -> str:
    text: str = point["point"].replace(",", ", ")
    return text


def _compared(times: dict[str, Any]) -> str:
    """Cells of both times, their ratio and its quartiles."""
    ours, peer, ratio = (rounded(times[key]) for key in ("ours_ms", "peer_ms", "ratio"))
    quartiles = " to ".join(rounded(end) for end in times["ratio_quartiles"])
    return f"{ours} | {peer} | **{ratio}** | {quartiles}"


def _rows(point: dict[str, Any]) -> str:
    agreement = point["agreement"]
    differ = f"{agreement['total_variation_distance']:.0e}" if agreement else "other physics"
    return "".join(
        f"| {point['modes']}, {point['photons']}, {point['batch']} | {point['space']} | "
        f"{point['outcomes']} | {direction} | {_compared(times)} | {differ} |\n"
        for direction, times in point["times"].items()
    )


def _circumstances(result: dict[str, Any]) -> str:
    machine = result["machine"]
    return (
        f"{machine['cpu']}, {machine['cores_used']} of {machine['cores']} cores, "
        f"{machine['vector_instructions']}, {result['torch_threads']} torch thread(s), "
        f"torch {result['versions']['torch']}, {result['date'][:10]}"
    )


def _load(file: Path) -> dict[str, Any] | None:
    return json.loads(file.read_text()) if file.exists() else None


if __name__ == "__main__":
    sys.exit(main())
