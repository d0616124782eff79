"""The small data sets that ship inside scikit-learn, for recipes and first steps."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from hybridlit.checks import choice
from hybridlit.data.arrays import ArrayDataModule
from hybridlit.data.scaling import AUTO, AutoName, ScalingName
from hybridlit.internals.sklearn import shipped_table

__all__ = ["DATASETS", "DatasetName", "SklearnDataModule"]

DATASETS = {
    "digits": "load_digits",
    "iris": "load_iris",
    "wine": "load_wine",
    "breast_cancer": "load_breast_cancer",
    "diabetes": "load_diabetes",
}
"""Functions of `sklearn.datasets` by name of the data set."""

if TYPE_CHECKING:
    DatasetName: TypeAlias = str
else:
    DatasetName = Literal[tuple(DATASETS)]


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
        target_scaling: Scaling of the targets of `diabetes`.
        val_fraction: As for `ArrayDataModule`, and so are all others.

    Example:
        >>> data = SklearnDataModule("wine", batch_size=16)
        >>> features, classes = next(iter(data.train_dataloader()))
        >>> features.shape, data.num_classes
        (torch.Size([16, 13]), 3)
    """

    def __init__(
        self,
        dataset: DatasetName = "digits",
        *,
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        calibration_fraction: float = 0.0,
        scaling: ScalingName | None = "standard",
        target_scaling: ScalingName | AutoName | None = AUTO,
        batch_size: int = 64,
        drop_last: bool = False,
        seed: int = 0,
        test_seed: int | None = None,
        num_workers: int = 0,
    ) -> None:
        choice(dataset, "dataset", DATASETS)
        inputs, targets = _load(dataset)
        super().__init__(
            inputs,
            targets,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            calibration_fraction=calibration_fraction,
            scaling=scaling,
            target_scaling=target_scaling,
            batch_size=batch_size,
            drop_last=drop_last,
            seed=seed,
            test_seed=test_seed,
            num_workers=num_workers,
        )
        self.keep_arguments()


def _load(dataset: str) -> Any:
    found = shipped_table(dataset)
    if found is not None:
        return found
    try:
        datasets = import_module("sklearn.datasets")
    except ImportError as error:
        raise ImportError(
            "SklearnDataModule needs scikit-learn, which is not installed: "
            'pip install "hybridlit[recipes]"'
        ) from error
    return getattr(datasets, DATASETS[dataset])(return_X_y=True)
