"""Several inputs for each row, by name, any of which may be missing: split, scaled, batched."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from hybridlit.constructors import check_constructors
from hybridlit.data.arrays import ArrayDataModule
from hybridlit.data.inputs import Inputs
from hybridlit.data.multimodal_inputs import MultiModalInputs, side_by_side
from hybridlit.data.scaling import ScalingName
from hybridlit.data.tensors import load_arrays

__all__ = ["MultiModalDataModule"]


class MultiModalDataModule(ArrayDataModule):
    """Training, validation and test data whose rows have several inputs, such as image and table.

    Batches are pairs of a dictionary of inputs, (batch, *shape) each, and targets. An input that a
    row lacks is NaN in all its values, in the arrays as in the batches; a model with `inputs` puts
    the mean of its features in the place. Every row has at least one.

    Args:
        arrays: Arrays by name, real numbers of shape (rows, ...) or (rows,), in a dictionary or in
            the file that `numpy.savez` has made of one.
        target: Name of the array with the targets: integers or text of shape (rows,) are classes.
        inputs: Names of the inputs, in the order in which a model takes them; None: all other
            arrays.
        id: Name of an array, (rows,), that tells which row is which; predictions have it.
        val: Validation data of the same form as `arrays`; None: split off.
        test: Test data; None: split off.
        scaling: As for `ArrayDataModule`, for all inputs, or a dictionary by their names; what a
            dictionary does not name is not scaled.
        **options: The other arguments of `ArrayDataModule`.

    Attributes:
        train: Training inputs side by side, (rows, values of all inputs), and targets.
        val: Validation inputs and targets, or None.
        test: Test inputs and targets, or None.

    Raises:
        TypeError: If an argument has the wrong type, or an array is not real.
        ValueError: If an array is missing, shapes disagree, a value is NaN or infinite in an input
            that is not missing, or a row has no input at all.

    Example:
        >>> import torch
        >>> image, table = torch.randn(50, 1, 4, 4), torch.randn(50, 3)
        >>> table[::3] = torch.nan
        >>> arrays = {"image": image, "table": table, "kind": torch.arange(50) % 2}
        >>> data = MultiModalDataModule(arrays, target="kind", batch_size=8)
        >>> data.input_shapes
        {'image': [1, 4, 4], 'table': [3]}
        >>> inputs, targets = next(iter(data.train_dataloader()))
        >>> inputs["image"].shape
        torch.Size([8, 1, 4, 4])
    """

    _shapes: dict[str, list[int]] | None = None

    def __init__(
        self,
        arrays: Any,
        *,
        target: str,
        inputs: list[str] | None = None,
        id: str | None = None,
        val: Any = None,
        test: Any = None,
        scaling: ScalingName | dict[str, ScalingName | None] | None = "standard",
        **options: Any,
    ) -> None:
        check_constructors(self, inspect.currentframe())
        given = {"": arrays, "val ": val, "test ": test}
        opened = {n: _opened(each, n or "arrays ") for n, each in given.items() if each is not None}
        names = [name for name in opened[""] if name not in (target, id)]
        self._names = names if inputs is None else list(inputs)
        self._id = id
        scalings = scaling if isinstance(scaling, Mapping) else dict.fromkeys(self._names, scaling)
        unknown = [name for name in scalings if name not in self._names]
        if unknown or not scalings:
            got = repr(unknown[0]) if unknown else "none of them"
            raise ValueError(f"scaling must be by names of inputs, {self._names}, got {got}")
        self._scalings = {name: scalings.get(name) for name in self._names}
        pairs = {name: _pair(each, name or "arrays ", target) for name, each in opened.items()}
        rows, labels = pairs[""]
        super().__init__(
            rows, labels, val=pairs.get("val "), test=pairs.get("test "), scaling=None, **options
        )
        targets = self.preprocessing.targets
        targets.names = [name.replace("target", target, 1) for name in targets.names]
        if isinstance(arrays, (str, os.PathLike)):
            self.preprocessing.facts["source"] = os.path.basename(arrays)
        given = {"arrays": arrays, "val": val, "test": test}
        self.keep_arguments(ignore=[name for name, each in given.items() if isinstance(each, dict)])

    @property
    def input_shapes(self) -> dict[str, list[int]]:
        """Shape of one row of each input, by name."""
        return dict(self._inputs.shapes)

    def scale(self, inputs: Any) -> Tensor:
        """Scale new inputs by name as the training inputs were: (rows, values of all inputs)."""
        values = self._inputs.read(inputs).values
        return self._prepared((values, torch.zeros(len(values), dtype=torch.int64)), "")[0]

    @property
    def _inputs(self) -> MultiModalInputs:
        inputs = self.preprocessing.inputs
        assert isinstance(inputs, MultiModalInputs)
        return inputs

    @property
    def _prepare(self) -> Callable[[Tensor], Any]:
        return self._inputs.by_name

    def _rows(self, inputs: Any, name: str) -> Tensor:
        rows, shapes = side_by_side(inputs, self._names, f"{name}inputs")
        if self._shapes is None:
            self._shapes = shapes
        elif shapes != self._shapes:
            raise ValueError(
                f"{name}inputs must have the shapes of the training inputs, {self._shapes}, got "
                f"{shapes}"
            )
        empty = int(rows.isnan().all(1).sum())
        if empty:
            raise ValueError(
                f"{name}inputs must be there in every row, got {empty:,} of {len(rows):,} rows "
                f"with none of {self._names}: leave these rows out"
            )
        return rows

    def _fit(self, rows: Tensor, scaling: str | None) -> Inputs:
        return MultiModalInputs.fit(rows, self._shapes or {}, self._scalings, self._id)

    def _prepared(self, part: tuple[Tensor, Tensor], name: str) -> tuple[Tensor, Tensor]:
        inputs, targets = part
        gone = inputs.isnan()
        filled = torch.where(gone, self._inputs.low, inputs)
        scaled, targets = super()._prepared((filled, targets), name)
        return scaled.masked_fill(gone, torch.nan), targets


def _opened(arrays: Any, name: str) -> dict[str, Any]:
    if isinstance(arrays, (str, os.PathLike)):
        arrays = load_arrays(arrays)
    if not isinstance(arrays, Mapping) or not all(isinstance(each, str) for each in arrays):
        raise TypeError(
            f"{name.strip()} must be arrays by name in a dictionary, or the path of a .npz, got "
            f"{type(arrays).__name__}"
        )
    return {each: arrays[each] for each in arrays}


def _pair(arrays: dict[str, Any], name: str, target: str) -> tuple[dict[str, Any], Any]:
    if target not in arrays:
        raise ValueError(
            f"target must be the name of an array of {name.strip()}, one of {list(arrays)}, got "
            f"{target!r}"
        )
    return arrays, arrays[target]
