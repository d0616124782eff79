"""A model from a checkpoint alone, as the class that it was; a file must not decide what is run."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from hybridlit.argument_types import checked
from hybridlit.internals.lightning import CLASS_PATH, INSTANTIATES
from hybridlit.templates.base import CLASS_KEY, HybridModule
from hybridlit.templates.foreign_names import name_of, unimported_name, within

__all__ = ["class_name_of", "load", "load_as", "load_content", "read_checkpoint"]


@checked
def load(
    path: str | os.PathLike[str], allow: Iterable[type[HybridModule] | str] = (), **arguments: Any
) -> HybridModule:
    """Load a trained model from a checkpoint, as the class that it was, ready to predict.

    Only classes of hybridlit are made, and those that are allowed, so that a file cannot decide
    what code is run.

    Args:
        path: Path of the checkpoint.
        allow: What else the model may be, or its arguments may be made of: classes,
            `[MyModel]`, or names of classes or of modules, `["mypackage.models"]`, which are then
            imported. A checkpoint that tells no class, such as those of version 0.1.0 that
            `hybridlit fit` has not made, is of the only class given.
        **arguments: Arguments of the class that the checkpoint does not hold.

    Returns:
        The model, on the CPU, in evaluation mode.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If `allow` holds something else.
        ValueError: If the file is no checkpoint, or its class is not allowed or not found.

    Example:
        >>> import tempfile
        >>> from lightning.pytorch import Trainer
        >>> import hybridlit as hl
        >>> file = tempfile.mkdtemp() + "/model.ckpt"
        >>> trainer = Trainer(max_epochs=1, logger=False, enable_checkpointing=False,
        ...     enable_progress_bar=False, enable_model_summary=False, accelerator="cpu")
        >>> model = hl.ResidualHybrid(input_dim="auto", output_dim="auto")
        >>> trainer.fit(model, hl.SklearnDataModule("iris"))
        >>> trainer.save_checkpoint(file)
        >>> type(hl.load(file)).__name__
        'ResidualHybrid'
    """
    allow = list(allow)
    wrong = [each for each in allow if not (isinstance(each, str) or _is_model(each))]
    if wrong:
        raise TypeError(
            "allow must be a list of classes that are HybridModules, or of names of classes or "
            f"modules, got {wrong[0]!r}"
        )
    return load_content(read_checkpoint(path), path, allow, arguments)


def load_content(
    content: Mapping[str, Any],
    path: str | os.PathLike[str],
    allow: Collection[type[HybridModule] | str],
    arguments: Mapping[str, Any],
) -> HybridModule:
    """Load a model as `load` does from a checkpoint that `read_checkpoint` has read."""
    kind = _class_of(content, allow, Path(path))
    # Lightning goes by the former keys as well
    kept = [content.get(key) for key in ("hyper_parameters", "hparams", "module_arguments")]
    names = {each for each in allow if isinstance(each, str)}
    foreign = unimported_name(kept, {INSTANTIATES, *names})
    if foreign is not None:
        raise ValueError(
            f"{path} asks for {foreign}, whose module is not imported: import it, or give "
            f"allow=[{foreign!r}] if you trust the file"
        )
    return _made(kind, path, arguments)


def load_as(
    kind: type[HybridModule], path: str | os.PathLike[str], arguments: Mapping[str, Any]
) -> HybridModule:
    """Load a model as `load` does, of a given class, and trust what its arguments name."""
    read_checkpoint(path)
    return _made(kind, path, arguments)


def _made(
    kind: type[HybridModule], path: str | os.PathLike[str], arguments: Mapping[str, Any]
) -> HybridModule:
    model = kind.load_from_checkpoint(
        Path(path), map_location="cpu", weights_only=True, **arguments
    )
    return model.eval()


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint of Lightning on the CPU, if it loads safely."""
    file = Path(path)
    if file.is_dir():
        found = sorted(each.relative_to(file) for each in file.rglob("*.ckpt"))
        which = f", such as {found[0]}" if found else ", and there is none below it"
        raise FileNotFoundError(f"{file} is a folder: give a checkpoint{which}")
    if not file.is_file():
        raise FileNotFoundError(f"no file {file.absolute()}: {_instead_of(file.name)}")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (EOFError, OSError, RuntimeError, UnpicklingError) as error:
        why = str(error).partition(".")[0]
        raise ValueError(f"{file} is no checkpoint that loads safely: {why}") from None
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ValueError(f"{file} is no checkpoint of Lightning: it has no state_dict")
    return content


def _instead_of(name: str) -> str:
    """Say what to give instead of a file that is not there, one that is there if possible."""
    runs = Path("runs").glob("*/version_*/checkpoints*/*.ckpt")
    newest = max(filter(Path.is_file, runs), key=lambda each: each.stat().st_mtime_ns, default=None)
    example = newest or "runs/NAME/version_0/checkpoints/last.ckpt, which hybridlit fit writes"
    words = f"; {name} is a word of the command line alone" if name in ("last", "best") else ""
    return f"give the path of a checkpoint, such as {example}{words}"


def class_name_of(content: Mapping[str, Any]) -> str | None:
    """Return the class that a checkpoint says its model is of, with its module, or None."""
    kept = content.get("hyper_parameters")
    noted = kept.get(CLASS_PATH) if isinstance(kept, Mapping) else None
    name = content.get(CLASS_KEY, noted)
    return name if isinstance(name, str) else None


def _class_of(
    content: Mapping[str, Any], allow: Collection[type[HybridModule] | str], path: Path
) -> type[HybridModule]:
    """Return the class of the model of a checkpoint, if it may be made."""
    name = class_name_of(content)
    classes = [each for each in allow if not isinstance(each, str)]
    if name is None:
        if len(classes) == 1:
            return classes[0]
        raise ValueError(
            f"{path} does not say of which class its model is: give it as allow=[MyModel]"
        )
    module, _, last = name.rpartition(".")
    for kind in classes:
        # a class of a script is of another module once it is imported
        if name in (name_of(kind), f"__main__.{kind.__qualname__}"):
            return kind
    if not within(name, ["hybridlit", *(each for each in allow if isinstance(each, str))]):
        raise ValueError(
            f"{path} is of the class {name}, which is neither of hybridlit nor allowed: give "
            f"allow=[{last}], the class itself, or allow=[{name!r}] to have it imported, if you "
            "trust the file"
        )
    try:
        found = getattr(import_module(module), last)
    except (ImportError, AttributeError, ValueError):
        raise ValueError(f"{path} is of the class {name}, and there is none") from None
    if not _is_model(found):
        raise ValueError(f"{path} is of {name}, which is no HybridModule")
    return found  # type: ignore[no-any-return]


def _is_model(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, HybridModule)
