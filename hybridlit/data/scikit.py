"""The small data sets that ship inside scikit-learn, for recipes and first steps."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal, get_args

from hybridlit.checks import choice
from hybridlit.constructors import plain
from hybridlit.data.arrays import ArrayDataModule

__all__ = ["SklearnDataModule"]

Dataset = Literal["digits", "iris", "wine", "breast_cancer", "diabetes"]


class SklearnDataModule(ArrayDataModule):
    """A data set of scikit-learn, split and scaled; nothing is downloaded.

    | dataset | rows | features | targets |
    |---|---|---|---|
    | `digits` | 1797 | 64 pixels | 10 classes |
    | `iris` | 150 | 4 | 3 classes |
    | `wine` | 178 | 13 | 3 classes |
    | `breast_cancer` | 569 | 30 | 2 classes |
    | `diabetes` | 442 | 10 | real values |

    Args:
        dataset: One of the names above.
        val_fraction: Share of all rows for validation, in [0, 1); 0: none.
        test_fraction: Share of all rows for the test, in [0, 1); 0: none.
        scaling: `"standard"`, `"minmax"` or None; fitted on the training rows.
        target_scaling: The same for the targets of `diabetes`.
        batch_size: Rows in a batch, at least 1.
        drop_last: Leave out the last training batch of an epoch if it is smaller.
        seed: Seed of the split and of the order of the training batches, from 0 to 2**32 - 1.
        num_workers: Number of loading processes, at least 0.

    Raises:
        ImportError: If scikit-learn is not installed.
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range or unknown.
    """

    def __init__(
        self,
        dataset: Dataset = "digits",
        *,
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        scaling: Literal["standard", "minmax"] | None = "standard",
        target_scaling: Literal["standard", "minmax"] | None = None,
        batch_size: int = 64,
        drop_last: bool = False,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        choice(dataset, "dataset", get_args(Dataset))
        inputs, targets = _load(dataset)
        super().__init__(
            inputs,
            targets,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            scaling=scaling,
            target_scaling=target_scaling,
            batch_size=batch_size,
            drop_last=drop_last,
            seed=seed,
            num_workers=num_workers,
        )
        # kept in checkpoints, but not logged: a logger refuses a model argument of the same name
        self.save_hyperparameters(logger=False)
        self.hparams.update(plain(dict(self.hparams)))


def _load(dataset: str) -> Any:
    try:
        datasets = import_module("sklearn.datasets")
    except ImportError as error:
        raise ImportError(
            "SklearnDataModule needs scikit-learn, which is not installed: "
            'pip install "hybridlit[recipes]"'
        ) from error
    return getattr(datasets, f"load_{dataset}")(return_X_y=True)
