"""Nothing outside `hybridlit/internals` touches what is private or undocumented."""

import ast
import importlib
import inspect
import re
from functools import cache
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
import torchmetrics
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningCLI
from syntax import HOUSE, tree_of
from torch import nn

FILES = sorted(path for path in HOUSE.rglob("*.py") if "internals" not in path.parts)

OVERRIDES = {"_apply", "_load_from_state_dict", "_save_to_state_dict"}
"""Methods of `nn.Module` that a circuit overrides; `test_overrides.py` has a test for each."""

DOCUMENTED = {"_asdict", "_exit", "_fields", "_make", "_replace", "_value_"}
"""Names that begin with an underscore and are documented all the same: of Python."""

UNDOCUMENTED = {
    "batch_progress",
    "epoch_loop",
    "epoch_progress",
    "fit_loop",
    "scheduler_progress",
    "sum_error",
    "sum_squared_error",
    "val_check_batch",
}
"""Names of Lightning and torchmetrics without an underscore that no documentation has."""

MODULES = (
    "flwr.common",
    "flwr.proto",
    "flwr.supercore",
    "lightning.pytorch.loops",
    "lightning.pytorch.trainer.connectors",
    "llvmlite.llvmpy",
    "numba.core",
    "numpy.random.mtrand",
    "tensorboard.compat",
    "torch.multiprocessing.reductions",
    "torch.utils._python_dispatch",
    "torch.utils._pytree",
)
"""Modules that are not documented."""


def private(name):
    return re.fullmatch(r"_[A-Za-z]\w*", name) is not None


@cache
def names_of(kind):
    """The private names of a class of another package, with the attributes that it gives itself."""
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):  # written in C
        source = ""
    found = set(vars(kind)) | set(re.findall(r"\bself\.(_[A-Za-z]\w*)", source))
    return {name for name in found if private(name)}


def foreign_names(kind):
    """Those that a class has from other packages."""
    others = [base for base in kind.__mro__ if not base.__module__.startswith("hybridlit")]
    return set().union(*map(names_of, others))


@cache
def known_foreign_names():
    """Those of the classes that hybridlit gets most of its objects from."""
    kinds = [nn.Module, torch.Tensor, torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]
    kinds += [torch.utils.data.DataLoader, torchmetrics.Metric, ModelCheckpoint, LightningCLI]
    kinds += [pl.Trainer, pl.LightningModule, pl.LightningDataModule, pl.Callback]
    return set().union(*map(foreign_names, kinds)) | {"_metadata", "_orig_mod", "_class_path"}


def defined_names(tree):
    """The private names that a piece of code makes itself."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and own(node):
            names.add(node.attr)
    return {name for name in names if private(name)}


@cache
def all_defined_names():
    return set().union(*(defined_names(tree_of(path)) for path in FILES))


def own(node):
    """Whether an attribute is that of `self`, `cls` or `super()`."""
    value = node.value
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return value.func.id == "super"
    return isinstance(value, ast.Name) and value.id in ("self", "cls")


def faults(tree, defined, inherited=frozenset()):
    """What a piece of code touches that it must not.

    `defined` are private names of hybridlit itself; `inherited` those that the class that the code
    belongs to has from other packages.
    """
    strange = known_foreign_names()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = node.attr
            if private(name) and name not in DOCUMENTED:
                theirs = inherited - OVERRIDES if own(node) else strange
                if name not in defined or name in theirs:
                    yield node.lineno, name
            elif name in UNDOCUMENTED:
                yield node.lineno, name
        elif isinstance(node, ast.FunctionDef) and node.name in inherited - OVERRIDES:
            yield node.lineno, node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((node.lineno, name) for name in imported(node) if refused(name))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node.value in strange | UNDOCUMENTED:
                yield node.lineno, node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("getattr", "setattr", "hasattr", "delattr") and len(node.args) > 1:
                name = node.args[1].value if isinstance(node.args[1], ast.Constant) else ""
                if private(str(name)) and name not in defined:
                    yield node.lineno, name


def imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [f"{node.module}.{alias.name}" for alias in node.names]


def refused(name):
    if name.startswith(("hybridlit.", "__future__.")):
        return False
    module = any(name == each or name.startswith(f"{each}.") for each in MODULES)
    return module or any(map(private, name.split(".")))


def faults_of_file(path):
    """What a file touches that it must not, in its classes what they inherit as well."""
    found = set(faults(tree_of(path), all_defined_names()))
    module = "hybridlit." + ".".join(path.relative_to(HOUSE).with_suffix("").parts)
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ClassDef) and node.bases:
            kind = getattr(
                importlib.import_module(module.removesuffix(".__init__")), node.name, None
            )
            if kind is not None:  # else it is made inside of a function
                found |= set(faults(node, all_defined_names(), foreign_names(kind)))
    return sorted(found)


def test_nothing_else_touches_what_is_not_documented():
    found = {str(path): wrong for path in FILES if (wrong := faults_of_file(path))}
    assert not found, f"to be moved to hybridlit/internals: {found}"


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("torch._foreach_norm(x)", "_foreach_norm"),
        ("torch._C.f()", "_C"),
        ("forward_ad._current_level", "_current_level"),
        ("model._trainer", "_trainer"),
        ("module._parameters.clear()", "_parameters"),
        ("getattr(state, '_metadata', {})", "_metadata"),
        ("hasattr(module, '_anything')", "_anything"),
        ("names = ('_step_count',)", "_step_count"),
        ("trainer.fit_loop.batch_idx", "fit_loop"),
        ("self.sum_squared_error", "sum_squared_error"),
        ("checkpoint['loops']['fit_loop']", "fit_loop"),
        ("from torch.utils._pytree import tree_leaves", "torch.utils._pytree.tree_leaves"),
        (
            "from lightning.fabric.utilities.types import _PATH",
            "lightning.fabric.utilities.types._PATH",
        ),
        ("from numba.core import cgutils", "numba.core.cgutils"),
        ("import numba.core.compiler", "numba.core.compiler"),
        ("import torch._dynamo", "torch._dynamo"),
    ],
)
def test_the_search_finds(code, name):
    assert name in {found for _, found in faults(ast.parse(code), {"_mine", "_parameters"})}


@pytest.mark.parametrize(
    "code",
    ["self._mine", "other._mine", "os._exit(0)", "row._replace(a=1)", "getattr(self, '_mine')"],
)
def test_the_search_lets_pass(code):
    assert not set(faults(ast.parse(code), {"_mine"}))


def test_the_search_knows_what_a_class_has_inherited():
    inherited = foreign_names(nn.Module)
    for code in ("self._buffers", "def _call_impl(self): ...", "super()._named_members"):
        assert set(faults(ast.parse(code), {"_buffers"}, inherited))
    assert not set(faults(ast.parse("super()._apply(f)"), {"_apply"}, inherited))


@pytest.mark.parametrize(
    "path", sorted((HOUSE / "internals").glob("[a-z]*.py")), ids=lambda p: p.stem
)
def test_each_of_them_is_tested_and_says_where_it_was_seen(path):
    module = importlib.import_module(f"hybridlit.internals.{path.stem}")
    assert "Seen in" in module.__doc__
    others = [file for file in Path(__file__).parent.glob("test_*.py") if file != Path(__file__)]
    tests = "".join(file.read_text(encoding="utf-8") for file in others)
    untested = [name for name in module.__all__ if not re.search(rf"\b{name}\b", tests)]
    assert not untested
