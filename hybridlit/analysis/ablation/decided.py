"""What decides the numbers of a study's runs, in digests that can be compared with others'."""

from __future__ import annotations

import platform
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import metadata
from io import BytesIO
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any
from uuid import uuid4

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_warn
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from hybridlit import __version__
from hybridlit.analysis.ablation.retraining import Recipe
from hybridlit.analysis.digests import digest_of
from hybridlit.analysis.evaluation import tensors_in
from hybridlit.analysis.splits import loader_of
from hybridlit.data.splits import SPLITS
from hybridlit.photonics.kernels.choice import chosen_kernel
from hybridlit.templates.hyperparameters import PlainHyperparameters

__all__ = ["can_be_compared", "decided_by"]

_NEVER = "never the same "
"""How what cannot be compared begins."""

_PACKAGE = Path(__file__).parents[2]

_LIBRARIES = ("torch", "lightning", "torchmetrics", "numpy", "scikit-learn")


def decided_by(
    recipe: Recipe,
    functions: Sequence[Callable[..., Any] | None],
    data: LightningDataModule,
    split: int | None,
    baselines: Sequence[str],
    jobs: int | None,
) -> dict[str, str]:
    """Return what decides the numbers of a run besides seed and arm, by what it is if it changes.

    What cannot be compared, such as a lambda, is warned of, and never the same.

    Args:
        recipe: How models are made and trained.
        functions: Those of the user that models and data are made, run and scored with.
        data: The data of the first seed, set up. They are read once.
        split: Seed of the one split; None: each seed has its own.
        baselines: Names of the baselines.
        jobs: Number of processes; None: this one, with its threads.
    """
    model, threads = recipe.model, torch.get_num_threads() if jobs is None else 1
    arguments = model.own_arguments if isinstance(model, PlainHyperparameters) else None
    state = [each for each in model.state_dict().values() if isinstance(each, Tensor)]
    settings = (
        recipe.max_epochs, recipe.monitor, recipe.options, functions, split, [*baselines],
        chosen_kernel(), str(torch.get_default_dtype()),
    )  # fmt: skip
    return {
        "another model": _compared(
            lambda: digest_of(state, _saved((type(model).__qualname__, arguments)))
        ),
        "other data": _compared(lambda: digest_of((), *_batches(data))),
        "other settings": _compared(lambda: digest_of((), _saved(settings))),
        "other code": _compared(lambda: digest_of((), *_sources())),
        "other versions": ", ".join(_versions()),
        "another machine or number of threads": f"{platform.machine()} with "
        f"{torch.backends.cpu.get_cpu_capability()}, {threads} threads, "
        f"{torch.cuda.device_count()} GPUs",
    }


def can_be_compared(decided_by: Iterable[str]) -> bool:
    """Return whether what decides the numbers may be the same another time."""
    return not any(value.startswith(_NEVER) for value in decided_by)


def _compared(digest: Callable[[], str]) -> str:
    try:
        return digest()
    except Exception as error:  # of pickling for instance, of any class
        rank_zero_warn(
            "if the study is killed, it will begin anew, since it cannot be told whether another "
            f"is the same: {error}"
        )
        return f"{_NEVER}{uuid4()}"


def _batches(data: LightningDataModule) -> Iterator[bytes]:
    """Of all batches in their order, so that another size of batches is other data."""
    yield _saved(dict(data.hparams))
    for split in SPLITS:
        for batch in loader_of(data, split):
            rest = apply_to_collection(batch, Tensor, lambda _: None)
            yield digest_of(tensors_in(batch), _saved(rest)).encode()


def _saved(settings: Any) -> bytes:
    """Bytes that are the same in another process; those of pickle alone hold addresses."""
    file = BytesIO()
    try:
        torch.save(settings, file)
    except Exception as error:
        raise ValueError(
            f"{error}; give functions and classes by their name in a module"
        ) from error
    return file.getvalue()


def _sources() -> Iterator[bytes]:
    """The code of this package, and all that is loaded and not installed.

    Of this package all of it, as some is loaded to compile kernels alone.
    """
    for path in sorted(_PACKAGE.rglob("*.py")):
        yield path.read_bytes()
    files = set[Path]()
    for name, module in list(sys.modules.items()):
        file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
        if file is None and name == "__main__":
            _refuse_typed(module)
        elif file and str(file).endswith(".py") and not _is_installed(Path(file)):
            files.add(Path(file))
    for path in sorted(files):
        yield path.read_bytes()


def _is_installed(file: Path) -> bool:
    if {"site-packages", "dist-packages"} & set(file.parts):
        return True
    return any(file.is_relative_to(folder) for folder in (_PACKAGE, sysconfig.get_path("stdlib")))


def _refuse_typed(main: ModuleType) -> None:
    """Refuse what was typed into an interpreter or a notebook, of which there is no file."""
    for name, value in vars(main).items():
        if isinstance(value, (FunctionType, type)) and value.__module__ == "__main__":
            raise ValueError(
                f"{name} was typed into an interpreter or a notebook; put it into a module"
            )


def _versions() -> Iterator[str]:
    yield f"hybridlit {__version__}"
    for name in _LIBRARIES:
        try:
            yield f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            yield f"no {name}"
