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
    """Sizes of a row of data, `source`; classes and the task that suits them if the data tell.

    Of inputs by name, `inputs` has the shapes, and `input_shape` is that of all side by side.
    """

    input_shape: tuple[int, ...]
    targets: int
    classes: int | None
    source: str
    task: str | None = None
    inputs: dict[str, list[int]] | None = None

    def output_dim(self, task: str) -> int:
        """Return the number of outputs that a task needs."""
        if task in ("regression", "multilabel"):
            return self.targets
        if task == "binary":
            return 1
        if self.classes is None and self.task is not None:
            raise ValueError(self.other_task(task))
        if self.classes is None:
            raise ValueError(
                f"output_dim='auto' needs the number of classes, which {self.source} does not tell "
                "by an attribute num_classes: give output_dim as a number, or task='regression' if "
                "the targets are real values"
            )
        return self.classes

    def other_task(self, task: str) -> str:
        """Say that the targets are of another task."""
        real = self.task == "regression"
        what = "real values" if real else f"{self.classes} classes"
        what = f"{self.targets} labels, yes or no" if self.task == "multilabel" else what
        kind = "class" if real else "value"
        return (
            f"task={task!r}, but the targets of {self.source} are {what}: give "
            f"task={self.task!r}, or target_kind={kind!r} to the data if that is what they are"
        )


def knows_sizes(data: object) -> bool:
    """Say whether a data module tells its sizes itself, as those of hybridlit do."""
    return hasattr(data, "input_shape") and callable(getattr(data, "output_dim", None))


def sizes_of(data: Any) -> Sizes:
    """Return the sizes of a data module or loader; a foreign one is asked for its first batch.

    Its `prepare_data` and `setup("fit")` are called for that. Random number generators stay as
    they are. Sizes are returned themselves.
    """
    if isinstance(data, Sizes):
        return data
    name = type(data).__name__
    if knows_sizes(data):
        task = getattr(data, "task_of_target", None)
        shape, targets = tuple(data.input_shape), data.output_dim("regression")
        named = getattr(data, "input_shapes", None)
        return Sizes(shape, targets, _classes(data), name, task, named)
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
    named = inputs if isinstance(inputs, dict) and inputs else {"": inputs}
    every = [*named.values(), targets]
    if not all(isinstance(each, Tensor) for each in every) or min(e.dim() for e in every[:-1]) < 2:
        raise TypeError(
            f"sizes are read from batches that are pairs of tensors (inputs, targets), and the "
            f"first of {name} is none: give input_dim and output_dim as numbers"
        )
    classes = _classes(data)
    if classes is None:
        classes = _classes(getattr(loader, "dataset", None))
    width = math.prod(targets.shape[1:])
    shapes = {each: list(tensor.shape[1:]) for each, tensor in named.items()}
    if inputs is named:
        total = sum(map(math.prod, shapes.values()))
        return Sizes((total,), width, classes, name, inputs=shapes)
    return Sizes(tuple(shapes[""]), width, classes, name)


def check_fits(model: LightningModule, sizes: Sizes) -> None:
    """Refuse data of sizes that a model does not take, where it is our own code that takes them."""
    given, shape = model.hparams, sizes.input_shape
    width = math.prod(shape)
    if sizes.inputs is not None and _ours(model, "unpack", "forward"):
        takes = {
            name: list(each) if isinstance(each, (list, tuple)) else [each]
            for name, each in (given.get("inputs") or {}).items()
        }
        if list(takes.items()) != list(sizes.inputs.items()):  # side by side, in this order
            raise ValueError(
                f"inputs={given.get('inputs')}, but a row of {sizes.source} has {sizes.inputs}: "
                f"give them like this, in this order, or input_dim='auto'"
            )
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
        raise ValueError(sizes.other_task(task))
    if task == "multiclass" and sizes.classes is not None and sizes.classes > outputs:
        raise ValueError(
            f"output_dim={outputs}, but {sizes.source} has {sizes.classes} classes: give "
            f"output_dim={sizes.classes} or 'auto'"
        )
    if task in ("regression", "multilabel") and sizes.targets != outputs:
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
