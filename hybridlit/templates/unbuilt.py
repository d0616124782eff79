"""Models whose sizes wait for the data: `input_dim="auto"`, `output_dim="auto"`.

Such a model is an object without a network, of class `Unbuilt`, that keeps what it was constructed
with. `build(data)` makes it the model itself, in place: whoever holds it holds the model then. A
Trainer builds it as soon as it has the data. From then on nothing tells it from a model that was
constructed with numbers: so are its hyperparameters, and it has the same weights.
"""

from __future__ import annotations

import inspect
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, TypeAlias

from lightning.pytorch import Callback, LightningModule
from typing_extensions import Self

from hybridlit.constructors import raised_in, taken_arguments
from hybridlit.data.scaling import AUTO, AutoName
from hybridlit.internals.lightning import attached_data, attached_trainer, noted_arguments
from hybridlit.templates.missing_arguments import require_arguments
from hybridlit.templates.preparation import take_over
from hybridlit.templates.sizes import check_fits, sizes_of
from hybridlit.undisturbed import undisturbed

__all__ = ["AutoInt", "Buildable", "SizesWanted", "Unbuilt"]

AutoInt: TypeAlias = int | AutoName

_SIZES = ("input_dim", "output_dim", "inputs")

_OF_MODELS = frozenset(
    "configure_optimizers forward hparams hparams_initial load_state_dict named_buffers "
    "named_modules named_parameters parameters predict predict_step state_dict train "
    "training_step".split()
)
"""What a model is asked for that an unbuilt one inherits and does not have."""


class SizesWanted(ValueError):
    """Raised by a constructor that is given `"auto"`, once it has checked everything else."""

    def __init__(self, kind: type, names: list[str], task: str) -> None:
        super().__init__(
            f"{' and '.join(names)} must be numbers where {kind.__name__} calls the constructor of "
            f"its base class, got {AUTO!r}: let {kind.__name__} take the argument and pass it on, "
            f"so that whoever constructs it may give {AUTO!r}"
        )
        self.names, self.task = names, task


class Buildable(LightningModule):
    """A LightningModule that waits for data if one of its sizes is `"auto"`."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Return an unbuilt model, whose constructor Python does not call, or a model."""
        if not (args and args[0] is Unbuilt):
            if args or kwargs:  # whoever copies a model calls this with none
                require_arguments(cls, args, kwargs)
            if _automatic(cls, args, kwargs):
                waiting: Any = Unbuilt(cls, args, kwargs)
                return waiting  # type: ignore[no-any-return]
        return super().__new__(cls)

    def __getnewargs__(self) -> tuple[Any, ...]:
        """Tell `__new__` that this is a copy of a model, whose arguments it is not called with."""
        return (Unbuilt,)

    def build(self, data: Any) -> Self:
        """Give a model with `input_dim="auto"` or `output_dim="auto"` its sizes and its network.

        A Trainer does so by itself. A model with numbers is checked to fit, and in either case it
        takes over how the data were prepared.

        Args:
            data: The LightningDataModule, or the DataLoader, that it will be trained on. One that
                is not of hybridlit is asked for its first batch, a pair (inputs, targets).

        Returns:
            The same object.

        Raises:
            TypeError: If the data are neither, or their batches no such pairs.
            ValueError: If they do not tell the sizes, or do not fit.
        """
        check_fits(self, sizes_of(data))
        take_over(self, data)
        return self

    def want_sizes(self, given: Mapping[str, Any]) -> None:
        """Raise a `SizesWanted` if sizes among checked arguments are no numbers."""
        names = [name for name in _SIZES if given.get(name) == AUTO]
        if names:
            raise SizesWanted(type(self), names, str(given["task"]))


class Unbuilt(LightningModule):
    """What a model is until `build` gives it the sizes that it was told to take from the data."""

    def __init__(
        self, kind: type[Buildable], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        super().__init__()
        self._noted = noted_arguments().get()  # what hybridlit fit will find in checkpoints
        self._arguments = args, kwargs
        self._process = os.getpid()
        self._kind = kind  # the last one: from now on the model is asked for more
        self._task = self._checked(args, kwargs)

    def build(self, data: Any) -> LightningModule:
        """Become the model: see `HybridModule.build`."""
        args, kwargs = self._sized(data)
        before, kind, noted = dict(vars(self)), self._kind, noted_arguments()
        trainer = attached_trainer(self)
        token = noted.set(self._noted)
        vars(self).clear()
        self.__class__ = kind  # type: ignore[assignment]
        try:
            self.__init__(*args, **kwargs)  # type: ignore[misc]
        except BaseException as error:
            self.__class__ = Unbuilt
            vars(self).clear()
            vars(self).update(before)
            left = _automatic(kind, args, kwargs, sizes=False)
            if left and isinstance(error, TypeError):
                raise ValueError(
                    f"{kind.__name__} cannot be made with the numbers that the data tell, {error}: "
                    f"{left[0]}={AUTO!r} stays what it is, since only {', '.join(_SIZES)} become "
                    "numbers; call the argument so if it is one of them"
                ) from error
            raise
        finally:
            noted.reset(token)
        if trainer is not None:
            self.trainer = trainer
        take_over(self, data)
        return self

    def configure_callbacks(self) -> Any:
        """Build the model: this is the first that a Trainer asks for when it has the data."""
        if self._process != os.getpid():
            raise RuntimeError(
                f"{self._kind.__name__} is to be trained in other processes than the one that made "
                "it, which would get no weights back: call model.build(data) before Trainer.fit"
            )
        self.build(attached_data(self.trainer))
        found: list[Callback] | Callback = self.configure_callbacks()
        return found

    def cpu(self) -> Self:
        """Stay as it is: a Trainer that has failed brings its model to the CPU."""
        return self

    def extra_repr(self) -> str:
        """Name the model in its `repr`."""
        return f"{self._kind.__name__}, to be built for data"

    def __getattribute__(self, name: str) -> Any:
        if name in _OF_MODELS:
            return self.__getattr__(name)
        return super().__getattribute__(name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        self._refuse(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if "_kind" in vars(self) and not name.startswith("_") and not hasattr(type(self), name):
            self._refuse(name)
        super().__setattr__(name, value)

    # --- inside -----------------------------------------------------------------------------------

    def _refuse(self, name: str) -> NoReturn:
        kind = self._kind.__name__
        sizes = " and ".join(_automatic(self._kind, *self._arguments))
        raise AttributeError(
            f"{kind} has no {name} yet, since its {sizes} wait{'' if ' and ' in sizes else 's'} "
            "for data: call model.build(data), begin with Trainer.fit(model, data), or give numbers"
        )

    def _checked(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        """Check all arguments but the sizes, and return the task, which a subclass may fix.

        None: the code of a subclass needs numbers before it comes to that.
        """
        model: Any = Buildable.__new__(self._kind, Unbuilt)
        try:
            object.__setattr__(model, "__class__", Unbuilt)  # the way back is that of `build`
            object.__setattr__(model, "__class__", self._kind)
        except TypeError:
            raise TypeError(
                f"{self._kind.__name__} cannot wait for data, since its first base class has slots "
                "or is abstract: give numbers, or name the template first among its bases"
            ) from None
        try:
            with undisturbed(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.__init__(*args, **kwargs)
        except SizesWanted as wanted:
            given = _automatic(self._kind, *self._arguments)
            fixed = [name for name in wanted.names if name not in given]
            if fixed:  # by the class itself, whatever data tell
                raise SizesWanted(self._kind, fixed, wanted.task) from None
            return wanted.task
        except Exception as error:
            if raised_in(error).startswith("hybridlit."):
                raise
            self._failure = error
            return None
        return str(model.hparams["task"])  # a subclass that goes without the numbers

    def _sized(self, data: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with numbers in them."""
        args, kwargs = self._arguments
        sizes = sizes_of(data)
        given = dict(zip(_positional(self._kind), args, strict=False)) | kwargs
        numbers: dict[str, Any] = {}
        for name in _automatic(self._kind, args, kwargs):
            if name == "output_dim":
                task = self._task or self._checked(*self._with(numbers))
                if task is None:
                    raise ValueError(
                        f"output_dim='auto' needs the task, and the constructor of "
                        f"{self._kind.__name__} fails before it tells: give output_dim as a number"
                    ) from self._failure
                numbers[name] = sizes.output_dim(task)
            elif name == "inputs" and sizes.inputs is None:
                raise ValueError(
                    f"inputs='auto' needs data with inputs by name, such as a "
                    f"MultiModalDataModule, got {sizes.source}: leave inputs out"
                )
            elif name == "inputs":
                numbers[name] = sizes.inputs
            elif given.get("input_shape") is not None:
                numbers[name] = math.prod(given["input_shape"])
            elif isinstance(given.get("inputs"), Mapping):
                numbers[name] = None  # that of these inputs, which are compared with the data later
            else:
                numbers[name] = math.prod(sizes.input_shape)
                if sizes.inputs is not None and "inputs" in taken_arguments(self._kind):
                    numbers["inputs"] = sizes.inputs
                if len(sizes.input_shape) > 1 and "input_shape" in taken_arguments(self._kind):
                    numbers["input_shape"] = list(sizes.input_shape)
        return self._with(numbers)

    def _with(self, numbers: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with some numbers in the place of what was given."""
        args, kwargs = self._arguments
        left = dict(numbers)
        pairs = zip(_positional(self._kind), args, strict=False)
        found = [left.pop(name, value) for name, value in pairs]
        return (*found, *args[len(found) :]), kwargs | left


def _constructors(kind: type) -> Iterator[list[inspect.Parameter]]:
    """Yield the parameters of constructors, the outermost first, as long as they pass them on."""
    for each in kind.__mro__:
        if "__init__" in vars(each):
            yield list(inspect.signature(vars(each)["__init__"]).parameters.values())[1:]


def _positional(kind: type) -> list[str]:
    """Name the arguments that can be given by position, those in `*args` by the next `__init__`."""
    names: list[str] = []
    for parameters in _constructors(kind):
        names += [
            p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        if not any(p.kind is p.VAR_POSITIONAL for p in parameters):
            break
    return names


def _automatic(
    kind: type, args: tuple[Any, ...], kwargs: dict[str, Any], sizes: bool = True
) -> list[str]:
    """Return which sizes are `"auto"`, given or by default, or which other arguments."""
    outermost = next(_constructors(kind), [])
    given = {p.name: p.default for p in outermost}
    given |= dict(zip(_positional(kind), args, strict=False)) | kwargs
    names = _SIZES if sizes else [name for name in given if name not in _SIZES]
    return [name for name in names if isinstance(given.get(name), str) and given[name] == AUTO]
