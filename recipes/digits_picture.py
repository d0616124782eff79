"""Draws what the runs of `digits_sequential.yaml` did: learning, photons, mistakes.

for seed in 0 1 2 3 4; do
  hybridlit fit --config recipes/digits_sequential.yaml --seed_everything $seed
done
python recipes/digits_picture.py
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.ticker import PercentFormatter
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hybridlit import SequentialHybrid, SklearnDataModule

HERE = Path(__file__).parent


def main(runs: Path, out: Path) -> None:
    versions = sorted(path.parent.parent for path in runs.glob("version_*/checkpoints/best-*"))
    if not versions:
        raise SystemExit(f"no finished run in {runs}: run hybridlit fit first (see --help)")
    inputs, targets = SklearnDataModule("digits").test
    figure, (learning, photons, mistakes) = plt.subplots(
        1, 3, figsize=(14, 4.2), layout="constrained", width_ratios=[1, 1.5, 1]
    )

    predicted = []
    for version in versions:
        events = EventAccumulator(str(version)).Reload()
        accuracy = [event.value for event in events.Scalars("val/acc")]
        learning.plot(range(1, len(accuracy) + 1), accuracy, color="tab:blue", alpha=0.6, lw=1)
        checkpoint = next((version / "checkpoints").glob("best-*"))
        model = SequentialHybrid.load_from_checkpoint(checkpoint, map_location="cpu").eval()
        with torch.no_grad():
            predicted.append(model(inputs).argmax(1))
    share = torch.stack([(guess == targets).float().mean() for guess in predicted])
    learning.set(
        xlabel="epoch", ylabel="validation accuracy", ylim=(0.7, 1.0),
        title=f"{len(versions)} seeds: test accuracy {share.mean():.3f}",
    )  # fmt: skip
    learning.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    learning.grid(alpha=0.3)

    model = SequentialHybrid.load_from_checkpoint(
        next((versions[0] / "checkpoints").glob("best-*")), map_location="cpu"
    ).eval()
    with torch.no_grad():
        outcomes = model.quantum_layer.probabilities(model.classical_pre(inputs))
    means = torch.stack([outcomes[targets == digit].mean(0) for digit in range(10)])
    image = photons.imshow(means.sqrt(), aspect="auto", cmap="magma", interpolation="nearest")
    space = model.quantum_layer.fock_space
    photons.set(
        yticks=range(10), ylabel="digit",
        xlabel=f"{len(space)} outcomes of {space.photons} photons in {space.modes} modes",
        title="where the photons go, mean over each digit's test images",
    )  # fmt: skip
    figure.colorbar(image, ax=photons, label=r"$\sqrt{\mathrm{probability}}$", pad=0.01)

    confusion = np.zeros((10, 10), dtype=int)
    for guess in predicted:
        np.add.at(confusion, (targets.numpy(), guess.numpy()), 1)
    mistakes.imshow(np.log1p(confusion), cmap="Blues")
    for row, column in np.argwhere(confusion):
        color = "white" if row == column else "black"
        count = confusion[row, column]
        mistakes.text(column, row, count, ha="center", va="center", fontsize=7, color=color)
    mistakes.set(
        xticks=range(10), yticks=range(10), xlabel="predicted", ylabel="digit",
        title=f"{len(targets)} test images, all seeds",
    )  # fmt: skip

    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)
    print(f"{out}: test accuracy {share.mean():.4f}, seeds {[round(v, 4) for v in share.tolist()]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--runs", type=Path, default=Path("runs/digits_sequential"))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "digits_sequential.png")
    main(**vars(parser.parse_args()))
