"""Handwritten digits through a photonic layer: `digits_sequential.yaml` in plain Python."""

import argparse

from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import LearningRateMonitor, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from hybridlit import SequentialHybrid, SklearnDataModule
from hybridlit.callbacks import ExactResume, HybridCheckpoint, PhotonicInspector, TensorBoardLayout


def main(seed: int, epochs: int) -> dict[str, float]:
    seed_everything(seed, workers=True)
    data = SklearnDataModule("digits", batch_size=64)
    model = SequentialHybrid(
        input_dim=64,
        quantum_dim=7,
        output_dim=10,
        n_modes=8,
        n_photons=3,
        quantum_output_dim=32,
        hidden_dim=64,
        head_dim=64,
        classical_lr=0.01,
        quantum_lr=0.03,
        weight_decay=0.3,
        schedule="cosine",
    )
    checkpoint = HybridCheckpoint(monitor="val/loss")
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=TensorBoardLogger("runs", name="digits_sequential", default_hp_metric=False),
        callbacks=[
            TQDMProgressBar(),
            PhotonicInspector(),
            TensorBoardLayout(),
            ExactResume(),
            checkpoint,
            LearningRateMonitor("epoch"),
        ],
    )
    trainer.fit(model, data)
    (metrics,) = trainer.test(model, data, ckpt_path=checkpoint.best_model_path)
    print(f"Best checkpoint: {checkpoint.best_model_path}")
    return dict(metrics)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=60)
    main(**vars(parser.parse_args()))
