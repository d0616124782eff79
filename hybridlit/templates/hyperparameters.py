"""What a template was constructed with, as plain values.

`LightningModule.save_hyperparameters` keeps the arguments of every constructor along the chain of
inheritance, fixed ones included. Two things are missing for templates that are meant to be
subclassed: a command line run records only what the outermost constructor accepts, so that builders
would not find the rest; and `load_from_checkpoint` hands fixed arguments back to a constructor that
takes `**kwargs`, which then passes them twice. Hence the two sets kept apart here.
"""

from __future__ import annotations

import inspect
from enum import Enum
from types import FrameType
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule

__all__ = ["PlainHyperparameters", "constructor_calls", "plain"]


class PlainHyperparameters(LightningModule):
    """A LightningModule with all constructor arguments in `self.hparams`, as plain values.

    A checkpoint keeps those that the constructor of the class itself takes.
    """

    def keep_hyperparameters(self, frame: FrameType | None) -> None:
        """Record the arguments; to be called in the innermost `__init__`.

        Args:
            frame: The frame of that `__init__`.
        """
        self.save_hyperparameters()
        calls = constructor_calls(self, frame)
        # What a subclass passes on may differ from what it was given: builders go by the former,
        # a checkpoint by the latter, which its constructor will be given again.
        merged = {name: plain(value) for call in reversed(calls) for name, value in call.items()}
        self._own_arguments = {name: plain(value) for name, value in calls[-1].items()}
        for name in [n for n in self.hparams if n not in merged and not n.startswith("_")]:
            del self.hparams[name]
        self.hparams.update(merged)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep only the hyperparameters that the constructor of this class takes."""
        kept = checkpoint.get(self.CHECKPOINT_HYPER_PARAMS_KEY, {})
        private = {name: value for name, value in kept.items() if name.startswith("_")}
        checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = {**self._own_arguments, **private}


def constructor_calls(obj: object, frame: FrameType | None) -> list[dict[str, Any]]:
    """Collect the arguments of the constructors that are running for an object.

    Args:
        obj: The object under construction.
        frame: The frame of the innermost `__init__`.

    Returns:
        One dictionary per constructor, from the innermost (the base class) to the outermost (the
        class that was called), by name. Values in `*args` get the names of the parameters of the
        next constructor, in order, since passing them on is what they are for.
    """
    calls: list[dict[str, Any]] = []
    inner_positional: list[str] = []
    while frame is not None and frame.f_code.co_name == "__init__":
        arguments = inspect.getargvalues(frame)
        if not arguments.args or arguments.locals[arguments.args[0]] is not obj:
            break
        code = frame.f_code
        count = code.co_argcount + code.co_kwonlyargcount
        call = {name: arguments.locals[name] for name in code.co_varnames[1:count]}
        if arguments.varargs is not None:
            call.update(zip(inner_positional, arguments.locals[arguments.varargs], strict=False))
        if arguments.keywords is not None:
            call.update(arguments.locals[arguments.keywords])
        calls.append(call)
        inner_positional = list(code.co_varnames[1 : code.co_argcount])
        frame = frame.f_back
    return calls


def plain(value: Any) -> Any:
    """Turn an enum member or a numpy scalar into the plain value it stands for.

    Args:
        value: Anything; lists and tuples are looked into.

    Returns:
        The plain value, which a checkpoint can hold safely; other values as they are.
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if type(value) in (list, tuple):
        return type(value)(plain(entry) for entry in value)
    return value.item() if isinstance(value, np.generic) else value
