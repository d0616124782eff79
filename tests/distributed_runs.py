"""Runs that one process and two must end with the same weights; two processes import this."""

import warnings
from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader, TensorDataset

from hybridlit.callbacks import (
    ActivationCheckpointing,
    AlternatingTraining,
    ComponentProfiler,
    EvaluationPictures,
    ExactResume,
    GradientImbalanceMonitor,
    HybridCheckpoint,
    MixedPrecision,
    OverfittingDetector,
    PhotonicInspector,
    TensorBoardLayout,
    WarmStart,
)
from hybridlit.data import ArrayDataModule, MultiModalDataModule, ResumableLoader
from hybridlit.templates import (
    ParallelBankHybrid,
    ParallelHybrid,
    ResidualHybrid,
    SequentialHybrid,
)

ROWS = {
    "train": 85,
    "val": 27,
    "test": 31,
}  # 4 * 20 + 3 + 2
GLOBAL_BATCH = 20
EPOCHS = 10  # of 5 steps

SEQUENTIAL = (SequentialHybrid, dict(quantum_dim=3, dropout=0.0))
PARALLEL = (ParallelHybrid, dict(hidden_dims=[8, 6]))
RESIDUAL = (ResidualHybrid, dict(hidden_dims=[16, 12]))
BANK = (ParallelBankHybrid, dict(n_layers=3, quantum_output_dim=6))
SGD = dict(optimizer=dict(class_path="torch.optim.SGD", init_args=dict(momentum=0.9)))
ONE_CYCLE = dict(schedule=dict(class_path="torch.optim.lr_scheduler.OneCycleLR"))
SCORES = ["acc", "f1", "auroc", "calibration_error", "torchmetrics.CohenKappa"]
NAMED = dict(input_dim=None, inputs=dict(image=[1, 2, 2], table=3))

MODELS = {
    "sequential": (*SEQUENTIAL, dict(batch_norm=False)),
    "sequential-batch-norm": (*SEQUENTIAL, dict(batch_norm=True)),
    "sequential-class-weights": (*SEQUENTIAL, dict(class_weights=[3.0, 1.0, 0.5])),
    "sequential-multilabel": (*SEQUENTIAL, dict(task="multilabel", class_weights=[2.0, 1.0, 0.5])),
    "sequential-clipped-cosine": (
        *SEQUENTIAL,
        dict(
            gradient_clip={"photonic": 0.1, "classical": 0.5}, schedule="cosine", warmup_epochs=1.5
        ),
    ),
    "parallel": (*PARALLEL, dict(fusion="gated", metrics=SCORES)),
    "parallel-balanced": (*PARALLEL, dict(class_weights="balanced", label_smoothing=0.1)),
    "parallel-two-optimizers": (*PARALLEL, dict(quantum_optimizer="torch.optim.Adam") | SGD),
    "parallel-inputs": (*PARALLEL, NAMED | dict(normalization="standard")),
    "residual": (*RESIDUAL, dict(gate="gated")),
    "residual-plateau": (*RESIDUAL, dict(schedule="plateau", plateau_patience=0)),
    "residual-regression": (*RESIDUAL, dict(task="regression", gate_epochs=[2, 4])),
    "residual-stages": (*RESIDUAL, dict(stages=[["classical", 2], ["photonic", 2], ["both", 2]])),
    "bank": (*BANK, dict(fusion="concat", normalization="standard")),
    "bank-one-cycle": (*BANK, dict(fusion="attention") | ONE_CYCLE),
    "bank-recomputed": (*BANK, dict(fusion="sum", quantum_dim=3, checkpoint_quantum=True)),
}
"""Templates, and how each is trained."""

CALLBACKS = {
    "alternating": lambda folder: [AlternatingTraining(classical_steps=2, quantum_steps=1)],
    "rebalanced": lambda folder: [
        GradientImbalanceMonitor(
            high=0.05, low=0.01, every_n_steps=2, patience=1, action="rebalance"
        )
    ],
    "overfitting": lambda folder: [OverfittingDetector(1.0, every_n_steps=5, replay_steps=5)],
    "frozen": lambda folder: [
        OverfittingDetector(every_n_steps=5, replay_steps=50, action="freeze")
    ],
    "measured": lambda folder: [
        MixedPrecision(core="float64", every_n_steps=3),
        ComponentProfiler(every_n_steps=20, warmup=1, steps=1),
    ],
    "recomputed": lambda folder: [
        ActivationCheckpointing(components=["photonic", "classical"], min_saved_mib=0.0)
    ],
    "drawn": lambda folder: [
        PhotonicInspector(every_n_epochs=4),
        EvaluationPictures(every_n_epochs=4),
        TensorBoardLayout(),
        LearningRateMonitor(),
    ],
    "resumable": lambda folder: [ExactResume(), HybridCheckpoint(every_n_steps=7)],
    "warm": lambda folder: [WarmStart({"photonic": str(Path(folder).parent / "photonic.pt")})],
    "stopped": lambda folder: [EarlyStopping("val/loss", patience=1, min_delta=0.02)],
}
"""Callbacks, with a folder of the run."""

TRAINERS = {
    "accumulated": dict(accumulate_grad_batches=2),
    "clipped": dict(gradient_clip_val=0.3),
    "validated-amid": dict(val_check_interval=2),
    "limited": dict(limit_train_batches=3),
}
"""Arguments of the Trainer."""

CASES = [*MODELS, *CALLBACKS, *TRAINERS]


def data_for(name, processes):
    """The same rows for any number of processes, of which each takes its part of a batch."""
    generator = torch.Generator().manual_seed(1)
    parts = {}
    for split, rows in (ROWS | {"val": 201} if name == "frozen" else ROWS).items():
        x = torch.randn(rows, 7, generator=generator)
        y = (x[:, 0] > 0.3).long() + (x[:, 1] > 0.5).long()
        if name == "sequential-multilabel":
            y = (x[:, :3] > 0.2).float()
        if name == "frozen":  # nothing but noise to learn
            y = torch.randint(3, (rows,), generator=generator)
        if name == "residual-regression":
            y = x[:, :3] @ torch.tensor([[1.0, 0.2], [0.5, -1.0], [0.0, 3.0]]) + 5
        parts[split] = (x, y)
    options = dict(batch_size=GLOBAL_BATCH // processes, seed=3)
    if name == "parallel-inputs":
        arrays = {}
        for split, (x, y) in parts.items():
            x[::3, 4:] = torch.nan
            x[1::5, :4] = torch.nan
            x[6::15] = 0.5  # a row has some input
            image, table = x[:, :4].reshape(-1, 1, 2, 2), x[:, 4:]
            arrays[split] = {"image": image, "table": table, "kind": y}
        return MultiModalDataModule(
            arrays["train"], val=arrays["val"], test=arrays["test"], target="kind", **options
        )
    train = parts.pop("train")
    if name == "sequential":  # weights of rows
        weights = torch.rand(ROWS["train"], generator=generator)
        return ArrayDataModule(*train, weights=weights, **parts, **options)
    return ArrayDataModule(*train, **parts, **options)


def model_for(name):
    torch.manual_seed(0)
    cls, sizes, more = MODELS.get(name, (*PARALLEL, {}))
    if name == "alternating":
        cls, sizes, more = (*SEQUENTIAL, dict(batch_norm=True))
    if name == "frozen":
        more = dict(hidden_dims=[512, 512, 8], classical_lr=0.003)
    outputs = 2 if name == "residual-regression" else 3
    given = dict(input_dim=7, output_dim=outputs, n_modes=4, n_photons=2, classical_lr=0.02)
    return cls(**given | sizes | more)


def trained(name, folder, processes):
    """Train, test and predict; what is left of it in plain tensors."""
    data, model = data_for(name, processes), model_for(name)
    folder = Path(folder) / f"{name}-{processes}"
    trainer = Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        precision="64-true",
        max_epochs=EPOCHS,
        log_every_n_steps=5,
        logger=TensorBoardLogger(folder) if name == "drawn" else False,
        callbacks=CALLBACKS.get(name, lambda folder: [])(folder),
        default_root_dir=folder,
        enable_checkpointing=name == "resumable",
        enable_progress_bar=False,
        enable_model_summary=False,
        **TRAINERS.get(name, {}),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(model, data)
        logged = {key: value.cpu() for key, value in trainer.callback_metrics.items()}
        steps = trainer.global_step
        (tested,) = trainer.test(model, data, verbose=False)
        predicted = torch.cat(trainer.predict(model, data))
    return {
        "weights": {key: value.detach().clone() for key, value in model.state_dict().items()},
        "logged": logged,
        "tested": tested,
        "predicted": predicted,
        "steps": steps,
        "frozen": [
            part
            for callback in trainer.callbacks
            if isinstance(callback, OverfittingDetector)
            for part in callback.frozen
        ],
    }


def all_trained(names, folder, processes):
    return {name: trained(name, folder, processes) for name in names}


class Foreign(LightningDataModule):
    """Loaders of torch, and some of ours whose last step has less rows than there are processes."""

    def __init__(self, processes):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(85, 7, generator=generator)
        self.rows, self.size = (x, (x[:, 0] > 0).long()), GLOBAL_BATCH // processes

    def loader(self, rows, kind=DataLoader, **options):
        data = TensorDataset(*(part[:rows] for part in self.rows))
        return kind(data, batch_size=self.size, **options)

    def train_dataloader(self):
        return self.loader(85, shuffle=True)

    def val_dataloader(self):
        return [self.loader(27), self.loader(21, ResumableLoader)]

    def test_dataloader(self):
        return self.loader(31)

    def predict_dataloader(self):
        return self.loader(21, ResumableLoader)


def evaluated(processes, weights=None):
    """Train for an epoch, or take weights; validate, test and predict."""
    torch.manual_seed(0)
    data, model = Foreign(processes), ParallelHybrid(7, 2, n_modes=4, n_photons=2, metrics=SCORES)
    trainer = Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        precision="64-true",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if weights is None:
            trainer.fit(model, data)
        else:
            model.double().load_state_dict(weights)
        found = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        validated = trainer.validate(model, data, verbose=False)
        (tested,) = trainer.test(model, data, verbose=False)
        predicted = torch.cat(trainer.predict(model, data))
    weights = {key: value.detach().clone() for key, value in model.state_dict().items()}
    return {
        "in the fit": found,
        "scores": {**validated[0], **validated[1], **tested},
        "predicted": predicted,
        "weights": weights,
    }


def shown(folder):
    """Train in two processes, of which the first has a progress bar, and save without a best."""
    torch.manual_seed(0)
    data, model = Foreign(2), ParallelHybrid(7, 2, n_modes=4, n_photons=2)
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_epochs=3,
        logger=False,
        callbacks=HybridCheckpoint(dirpath=folder, save_top_k=0),
        enable_model_summary=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(model, data)
    shown = trainer.callback_metrics.items()
    return {key: float(value) for key, value in shown if key != "loss"}  # of each process alone
