"""How large the inputs and outputs of a model must be for given data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor
from torch.utils.data import DataLoader

from hybridlit.templates.normalizers import generators_of
from hybridlit.undisturbed import undisturbed

__all__ = ["Sizes", "check_fits", "knows_sizes", "sizes_of"]


class Sizes(NamedTuple):
    """Sizes of a row of data, `source`; classes and the task that suits them if the data tell."""

    input_shape: tuple[int, ...]
    targets: int
    classes: int | None
    source: str
    task: str | None = None

    def output_dim(self, task: str) -> int:
        """Return the number of outputs that a task needs."""
        if task == "regression":
            return self.targets
        if task == "binary":
            return 1
        if self.classes is None:
            raise ValueError(
                f"output_dim='auto' needs the number of classes, which {self.source} does not tell "
                "by an attribute num_classes: give output_dim as a number"
            )
        return self.classes


def knows_sizes(data: object) -> bool:
    """Say whether a data module tells its sizes itself, as those of hybridlit do."""
    return hasattr(data, "input_shape") and callable(getattr(data, "output_dim", None))


def sizes_of(data: Any) -> Sizes:
    """Return the sizes of a data module or loader; a foreign one is asked for its first batch.

    Its `prepare_data` and `setup("fit")` are called for that. Random number generators stay as
    they are.
    """
    name = type(data).__name__
    if knows_sizes(data):
        task = getattr(data, "task_of_target", None)
        shape, targets = tuple(data.input_shape), data.output_dim("regression")
        return Sizes(shape, targets, _classes(data), name, task)
    loader = data
    if isinstance(data, LightningDataModule):
        data.prepare_data()
        data.setup("fit")
        loader = data.train_dataloader()
    if isinstance(loader, (str, bytes, dict, Tensor, Iterator)) or not hasattr(loader, "__iter__"):
        raise TypeError(
            f"data must be a LightningDataModule or one DataLoader, got {type(loader).__name__}: "
            "give input_dim and output_dim as numbers for other data"
        )
    generators = generators_of(loader) if isinstance(loader, DataLoader) else []
    with undisturbed(generators=generators):
        batch = next(iter(loader), None)
    pair = batch if isinstance(batch, (tuple, list)) else ()
    inputs, targets = pair[:2] if len(pair) in (2, 3) else (None, None)
    if not (isinstance(inputs, Tensor) and isinstance(targets, Tensor) and inputs.dim() > 1):
        raise TypeError(
            f"sizes are read from batches that are pairs of tensors (inputs, targets), and the "
            f"first of {name} is none: give input_dim and output_dim as numbers"
        )
    classes = _classes(data)
    if classes is None:
        classes = _classes(getattr(loader, "dataset", None))
    width = math.prod(targets.shape[1:])
    return Sizes(tuple(inputs.shape[1:]), width, classes, name)


def check_fits(model: LightningModule, sizes: Sizes) -> None:
    """Refuse data of sizes that a model does not take, where it is our own code that takes them."""
    given, shape = model.hparams, sizes.input_shape
    width = math.prod(shape)
    if _ours(model, "unpack", "forward") and given.get("input_dim", width) != width:
        raise ValueError(
            f"input_dim={given['input_dim']}, but a row of {sizes.source} has {width} features"
            + (f" of shape {list(shape)}" if len(shape) > 1 else "")
            + f": give input_dim={width} or 'auto'"
        )
    if not _ours(model, "unpack", "prepare_targets"):
        return
    outputs, task = given["output_dim"], given["task"]
    if sizes.task not in (None, task) and (sizes.task, task) != ("binary", "multiclass"):
        real = sizes.task == "regression"
        what = "real values" if real else f"{sizes.classes} classes"
        kind = "class" if real else "value"
        raise ValueError(
            f"task={task!r}, but the targets of {sizes.source} are {what}: give "
            f"task={sizes.task!r}, or target_kind={kind!r} to the data if that is what they are"
        )
    if task == "multiclass" and sizes.classes is not None and sizes.classes > outputs:
        raise ValueError(
            f"output_dim={outputs}, but {sizes.source} has {sizes.classes} classes: give "
            f"output_dim={sizes.classes} or 'auto'"
        )
    if task == "regression" and sizes.targets != outputs:
        raise ValueError(
            f"output_dim={outputs}, but {sizes.source} has {sizes.targets} targets in a row: give "
            f"output_dim={sizes.targets} or 'auto'"
        )


def _classes(data: Any) -> int | None:
    try:
        found = getattr(data, "num_classes", None)
    except ValueError:  # real targets have none
        return None
    return found if isinstance(found, int) else None


def _ours(model: LightningModule, *methods: str) -> bool:
    kind = type(model)
    return all(getattr(kind, name).__module__.startswith("hybridlit.") for name in methods)
