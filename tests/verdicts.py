"""Ablation studies whose truth is known, and how often their verdicts say something else.

    python tests/verdicts.py --nulls 60 --positives 4 --spirals 10

Nulls: labels that have nothing to do with photons (at random, a plane with flipped labels, a small
ReLU network), models of three kinds, learning rates that suit both components, one of them, or
neither. No verdict may be "helps". Positives: values computed by a photonic circuit, and a student
of the same architecture; it must help against a linear layer and an MLP of as many parameters.
Spirals: two of them in five dimensions, which a published study gave to photonic models that had
learned at a 50 times higher rate than the MLPs beside them. The exit status is 0 if all is so.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections import Counter

import torch

from hybridlit import (
    ArrayDataModule,
    Experiment,
    HybridModule,
    ParallelHybrid,
    QuantumLayer,
    ResidualHybrid,
    SequentialHybrid,
)
from hybridlit.analysis.ablation.study import ablation_study

RATES = {"equal": (1e-2, 1e-2), "default": (3e-3, 1e-2), "apart": (1e-3, 5e-2)}
SMALL = dict(n_modes=4, n_photons=2, dropout=0.0)


# --- problems -------------------------------------------------------------------------------------


def noise(generator, x):
    """Labels at random, three in ten of them 1."""
    return (torch.rand(len(x), generator=generator) < 0.3).long()


def plane(generator, x):
    """A plane between two classes, and one label in ten flipped."""
    side = x @ torch.randn(x.shape[1], generator=generator) > 0
    flipped = torch.rand(len(x), generator=generator) < 0.1
    return (side ^ flipped).long()


def relus(generator, x):
    """The sign of a random network with eight ReLUs."""
    hidden = torch.relu(x @ torch.randn(x.shape[1], 8, generator=generator))
    values = hidden @ torch.randn(8, generator=generator)
    return (values > values.median()).long()


NULLS = {"noise": noise, "plane": plane, "relus": relus}
MODELS = {
    "sequential": (SequentialHybrid, dict(quantum_dim=2, hidden_dim=8, head_dim=8)),
    "parallel": (ParallelHybrid, dict(hidden_dims=[16, 16])),
    "residual": (ResidualHybrid, {}),
}


def spirals(seed):
    """Two spirals of 450 rows in a plane of five dimensions, 340 of them for training."""
    generator = torch.Generator().manual_seed(seed)
    angle = 3 * math.pi * torch.rand(450, generator=generator).sqrt()
    y = torch.randint(2, (450,), generator=generator)
    turned = angle + math.pi * y
    flat = (angle / (3 * math.pi))[:, None] * torch.stack([turned.cos(), turned.sin()], 1)
    flat = flat + 0.03 * torch.randn(450, 2, generator=generator)
    x = flat @ torch.randn(2, 5, generator=generator)
    train, test = (x[:340], y[:340]), (x[340:], y[340:])
    return ArrayDataModule(*train, test=test, batch_size=32, seed=seed)


class Student(HybridModule):
    """A circuit of three features, with a linear readout of its outcomes."""

    def __init__(self, **training):
        super().__init__(output_dim=1, task="regression", **training)
        self.quantum = QuantumLayer(3, 1, experiment=Experiment("series", 4, 2))

    def forward(self, x):
        return self.quantum(x)


def taught(seed):
    """Rows, and what a circuit with other phases says of them, standardized."""
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(600, 3, generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(1000 + seed)
        teacher = Student()
    with torch.no_grad():
        y = teacher(x)
    split = dict(val_fraction=0.2, test_fraction=0.3)
    return ArrayDataModule(
        x, (y - y.mean()) / y.std(), scaling=None, batch_size=100, seed=seed, **split
    )


# --- studies --------------------------------------------------------------------------------------


def null(number):
    """The study of a number, all of them different."""
    kinds = list(itertools.product(NULLS, MODELS, RATES))
    # 20 shares no factor with 27, so that any number of them is a mixture
    problem, kind, rates = kinds[20 * number % len(kinds)]
    generator = torch.Generator().manual_seed(number)
    x = torch.randn(300, 4, generator=generator)
    y = NULLS[problem](generator, x)
    data = ArrayDataModule(x, y, batch_size=60, seed=number, val_fraction=0.2, test_fraction=0.4)
    cls, options = MODELS[kind]
    arms = ["linear", "mlp"] if cls is SequentialHybrid else ["classical_only", "mlp"]
    classical, quantum = RATES[rates]
    model = cls(4, output_dim=2, classical_lr=classical, quantum_lr=quantum, **SMALL, **options)
    found = study(model, data, arms, seeds=3, max_epochs=25)
    return f"{problem}, {kind}, {rates}", found


def positive(seed):
    """A student of the teacher's architecture, trained until the MLP beside it has finished."""
    model = Student(classical_lr=0.1, quantum_lr=0.1)
    return f"teacher {seed}", study(model, taught(seed), ["linear", "mlp"], 5, 300)


def spiral(rates, seeds):
    """Two spirals at a pair of learning rates."""
    classical, quantum = RATES[rates]
    model = ParallelHybrid(
        5, 2, hidden_dims=[16, 16], n_modes=5, classical_lr=classical, quantum_lr=quantum
    )
    return f"spirals, {rates}", study(model, spirals(0), ["classical_only"], seeds, 40)


def study(model, data, arms, seeds, max_epochs):
    return ablation_study(
        model,
        data,
        posthoc=False,
        retrained=arms,
        seeds=seeds,
        max_epochs=max_epochs,
        baselines=False,
        trainer_options=dict(accelerator="cpu"),
        progress=False,
    )


def told(name, study, start):
    """Print what a study found, a line for each arm, and return its verdicts."""
    hybrid, *others = study.retrained
    for arm in others:
        found = arm.difference
        word = arm.verdict if arm.reason is None else f"{arm.verdict}: {arm.reason}"
        means = [sum(each.scores) / len(each.scores) for each in (hybrid, arm)]
        print(
            f"{time.process_time() - start:6.0f} s  {name:28} {arm.name:15} "
            f"{means[0]:.3f} {means[1]:.3f}  {found.mean:+.3f} "
            f"({found.low:+.3f} to {found.high:+.3f})  p {arm.p_value:.3f}  {word}",
            flush=True,
        )
    return [arm.verdict for arm in others]


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nulls", type=int, default=60)
    parser.add_argument("--positives", type=int, default=4)
    parser.add_argument("--spirals", type=int, default=10, help="seeds of each; 0: none")
    options = parser.parse_args(arguments)
    start, wrong = time.process_time(), 0
    counts = Counter()
    for seed in range(options.positives):
        words = told(*positive(seed), start)
        wrong += words != ["helps", "helps"]
        counts["positives that help"] += words == ["helps", "helps"]
    for rates in ("apart", "default") if options.spirals else ():
        words = told(*spiral(rates, options.spirals), start)
        wrong += "helps" in words
        counts["spirals that help"] += "helps" in words
    verdicts = Counter()
    for number in range(options.nulls):
        words = told(*null(number), start)
        wrong += "helps" in words
        counts["nulls that help"] += "helps" in words
        verdicts.update(words)
    for name, count in (counts + Counter({name: 0 for name in counts})).items():
        print(f"{name}: {count}")
    print(f"nulls that help: {counts['nulls that help']} of {options.nulls}; all words: {verdicts}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
