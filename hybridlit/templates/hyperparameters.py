"""What a template was constructed with, as plain values.

`LightningModule.save_hyperparameters` keeps the arguments of every constructor along the chain of
inheritance, fixed ones included. Three things are missing for templates that are meant to be
subclassed: a command line run records only what the outermost constructor accepts, so that builders
would not find the rest; `load_from_checkpoint` hands fixed arguments back to a constructor that
takes `**kwargs`, which then passes them twice; and an argument that is no plain value, such as a
module, makes a checkpoint that does not load. Hence the two sets kept apart here: what builders
find, and what a checkpoint holds.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Collection
from io import BytesIO
from types import FrameType
from typing import Any, Literal, TypeAlias

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from hybridlit.constructors import ConstructorCall, check_constructors, plain
from hybridlit.internals.lightning import INSTANTIATOR
from hybridlit.photonics import Experiment
from hybridlit.words import meant

__all__ = [
    "NOW_QUANTUM_DIM",
    "RENAMED",
    "FormerName",
    "PlainHyperparameters",
    "nearest",
    "unknown_argument",
]

_LEFT_OUT = "hybridlit_arguments_left_out"
"""Key of a checkpoint: names of the arguments that it does not hold."""

RENAMED = {"quantum_input_dim": "quantum_dim"}
"""New names of arguments by the former ones, which go on working."""

FormerName: TypeAlias = Literal["quantum_dim"]
NOW_QUANTUM_DIM: FormerName = "quantum_dim"
"""Default of a former name of `quantum_dim`: it is not given, where None is a value."""


_FRAMEWORKS = ("builtins", "lightning", "lightning_fabric", "torch")


class PlainHyperparameters(LightningModule):
    """A LightningModule with all constructor arguments in `self.hparams`, as plain values.

    A checkpoint keeps those that the constructor of the class itself takes and that load safely.
    What else there is, modules for instance, has to be given again; of a run of the command line,
    the `class_path` is kept instead.
    """

    def keep_hyperparameters(self, frame: FrameType | None) -> None:
        """Check and record the arguments; to be called in the innermost `__init__`, with its frame.

        A wrong type is a `TypeError`, a word that is not allowed a `ValueError`.
        """
        calls = [_renamed(call) for call in check_constructors(self, frame)]
        with warnings.catch_warnings():  # checkpoints do without modules, see below
            warnings.filterwarnings("ignore", ".*is an instance of `nn.Module`.*")
            self.save_hyperparameters()
        # what the command line was told to make objects of
        recorded = dict(self.hparams) if INSTANTIATOR in self.hparams else {}
        # What a subclass passes on may differ from what it was given: builders go by the former,
        # a checkpoint by the latter, which its constructor will be given again.
        merged = {
            name: plain(value) for call in reversed(calls) for name, value in call.arguments.items()
        }
        self._own_arguments = {n: plain(value) for n, value in calls[-1].arguments.items()}
        self._stored: dict[str, Any] = {}
        self._left_out: list[str] = []
        parameters = inspect.signature(type(self).__init__).parameters
        for name, value in calls[-1].arguments.items():
            stored = self._own_arguments[name]
            if name in recorded and not _loads_safely(stored):
                stored = recorded[name]
            if _loads_safely(stored):
                self._stored[name] = stored
            elif name not in parameters or value is not parameters[name].default:
                self._left_out.append(name)
        for name in [n for n in self.hparams if n not in merged and not n.startswith("_")]:
            del self.hparams[name]
        self.hparams.update(merged)
        # what a template reads in training stays in self.hparams, ignored or not
        self._read_here = {name for call in calls if call.is_ours for name in call.arguments}
        self.remove_ignored_hparams(sorted(self._ignored))

    def keep_plain(self, name: str, value: Any, own: bool) -> None:
        """Record a plain value in the place of an argument that a template has made it of.

        `own` says that it is what the class itself was given. Otherwise a subclass has made it of
        an argument of its own, which its constructor will be given again.
        """
        self.hparams[name] = value
        if own:
            self._own_arguments[name] = self._stored[name] = value
            self._left_out = [other for other in self._left_out if other != name]

    def leave_out(self, name: str) -> None:
        """Let checkpoints hold None for an argument that they have no need of."""
        if self._own_arguments.get(name) is not None:
            self._stored[name] = None
            self._left_out = [other for other in self._left_out if other != name]

    @property
    def own_arguments(self) -> dict[str, Any]:
        """What the constructor of the class itself was given, by name, as plain values."""
        return self._own_arguments

    @property
    def hparams_initial(self) -> Any:
        """The hyperparameters for loggers, as plain values."""
        initial = super().hparams_initial
        initial.update({n: value for n, value in self._stored.items() if n in initial})
        for former in RENAMED:
            initial.pop(former, None)
        return initial

    @property
    def _ignored(self) -> set[str]:
        """Arguments that a subclass has told `save_hyperparameters` to ignore."""
        names: set[str] = self.__dict__.setdefault("_ignored_arguments", set())
        return names

    def remove_ignored_hparams(self, ignore_list: list[str]) -> None:
        """Follow `save_hyperparameters(ignore=...)`: checkpoints do not hold these arguments."""
        self._ignored.update(ignore_list)
        needed: set[str] = self.__dict__.get("_read_here", set())
        super().remove_ignored_hparams([name for name in ignore_list if name not in needed])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep only the hyperparameters that the constructor of this class takes."""
        kept = checkpoint.get(self.CHECKPOINT_HYPER_PARAMS_KEY, {})
        private = {name: value for name, value in kept.items() if name.startswith("_")}
        own = {n: value for n, value in self._stored.items() if n not in self._ignored}
        checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = {**own, **private}
        left_out = [name for name in self._left_out if name not in self._ignored]
        if left_out:
            checkpoint[_LEFT_OUT] = left_out
            self._warn_of(left_out)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to go on with the default of an argument that the checkpoint does not hold."""
        given = {*self._left_out, *self._ignored}
        missing = [name for name in checkpoint.get(_LEFT_OUT, []) if name not in given]
        if missing:
            name = type(self).__name__
            raise ValueError(
                f"the checkpoint was saved with {', '.join(missing)} other than the default, and "
                f"cannot hold such a value: construct {name} with it, or load by "
                f"{name}.load_from_checkpoint(path, {_pleas(missing)})"
            )

    def _warn_of(self, left_out: list[str]) -> None:
        if not self.__dict__.get("_warned_of_left_out"):
            self._warned_of_left_out = True
            name = type(self).__name__
            rank_zero_warn(
                f"checkpoints do not hold what {name} was given for {', '.join(left_out)}, since "
                f"it is no plain value: load by {name}.load_from_checkpoint(path, "
                f"{_pleas(left_out)}), or let {name} call self.save_hyperparameters("
                f"ignore={left_out}) if it can do without"
            )


def unknown_argument(kind: type, names: Collection[str]) -> TypeError:
    """Return the error for arguments that no constructor of a class has."""
    ours = [
        each
        for each in kind.__mro__
        if "__init__" in vars(each) and each.__module__.partition(".")[0] not in _FRAMEWORKS
    ] or [kind]
    known = {n: None for each in ours for n in inspect.signature(each).parameters}
    name = next(iter(names))
    lists = ", ".join(f"help({each.__name__})" for each in ours)
    near = nearest(name, known)
    if "experiment" in known and name in inspect.signature(Experiment).parameters:
        near = f" of its own: give experiment=hybridlit.Experiment({name}=..., ...)"
    return TypeError(f"{kind.__name__} has no argument {name!r}{near}; they are in {lists}")


def nearest(name: str, known: Collection[str]) -> str:
    """Return a question for the nearest of the known names, if one is near."""
    return meant(name, [each for each in known if each not in RENAMED])


def _renamed(call: ConstructorCall) -> ConstructorCall:
    """Give arguments their present names; a user's class may have its own by a former one."""
    if call.function is None:
        return call
    own = inspect.signature(call.function).parameters
    arguments = dict(call.arguments)
    for former, name in RENAMED.items():
        if former not in arguments or (former in own and not call.is_ours):
            continue
        value = arguments.pop(former)
        if value == NOW_QUANTUM_DIM:
            continue
        default = own[name].default if name in own else inspect.Parameter.empty
        if arguments.get(name, default) not in (default, value):
            raise ValueError(
                f"{name}={arguments[name]!r} contradicts {former}={value!r}, its former name: "
                f"leave {former} out"
            )
        arguments[name] = value
        if call.is_ours:
            rank_zero_warn(
                f"{former} is called {name} now, as in every template; the former name goes on "
                "working",
                category=DeprecationWarning,
            )
    return call._replace(arguments=arguments)


def _loads_safely(value: Any) -> bool:
    """Say whether a checkpoint with this value loads with `weights_only=True`."""
    if value is None or type(value) in (bool, int, float, str):
        return True
    if isinstance(value, nn.Module):
        return False  # may be large
    file = BytesIO()
    try:
        torch.save(value, file)
        file.seek(0)
        torch.load(file, weights_only=True)
    except Exception:  # of pickling or of loading, of any class
        return False
    return True


def _pleas(names: list[str]) -> str:
    return ", ".join(f"{name}=..." for name in names)
