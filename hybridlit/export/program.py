"""A model and all around it as one graph: raw rows in, probabilities or values out."""

from __future__ import annotations

import copy
import gc
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from hybridlit.components import photonic_modules
from hybridlit.export.real_circuit import RealCircuit
from hybridlit.export.slots import slots_bytes
from hybridlit.internals.lightning import attached_trainer
from hybridlit.photonics import PhotonicCircuit
from hybridlit.templates import HybridModule
from hybridlit.undisturbed import log_nothing
from hybridlit.words import in_bytes, in_digits

__all__ = ["WholeModel", "exported", "quiet", "require_size"]

MOST_BYTES = 512 * 2**20
"""Tables of a photonic layer that a file may hold."""
MOST_STEPS = 128
"""Columns of data phases and photons of all circuits together: each is some nodes of the graph."""

_TORCH = ("aten", "prim", "prims", "higher_order")
"""Namespaces of operators that torch itself has."""


class WholeModel(nn.Module):
    """A copy of a model on the CPU, in evaluation mode, with its preprocessing before it."""

    def __init__(self, model: HybridModule) -> None:
        super().__init__()
        self.model = copy.deepcopy(model, {id(attached_trainer(model)): None}).cpu().eval()
        self.model.requires_grad_(False)
        self.model.log = self.model.log_dict = log_nothing  # type: ignore[method-assign]
        for name in ("train_metrics", "val_metrics", "test_metrics", "epoch_means"):
            delattr(self.model, name)
        kept = self.model.preprocessing
        self.inputs = None if kept is None else kept.inputs

    def forward(self, rows: Tensor) -> Tensor:
        """Map raw rows (batch, ...) to probabilities or values in own units (batch, outputs).

        Those of a row with NaN or infinity, once it is prepared, are NaN, unless that is a missing
        input: not every runtime keeps NaN through every operation.
        """
        prepared = (rows if self.inputs is None else self.inputs(rows)).to(self.model.dtype)
        there = self.model.usable_rows(prepared)[:, None]
        outputs = self.model.calibrated(self.model(prepared))
        return outputs.masked_fill(~there, math.nan)

    def make_real(self) -> None:
        """Put real arithmetic in the place of every photonic layer."""
        made: dict[int, RealCircuit] = {}
        for name, module in list(self.model.named_modules(remove_duplicate=False)):
            if isinstance(module, PhotonicCircuit):
                if id(module) not in made:
                    made[id(module)] = RealCircuit(module)
                parent, _, own = name.rpartition(".")
                setattr(self.model.get_submodule(parent), own, made[id(module)])


def require_size(model: HybridModule) -> None:
    """Refuse a model whose graph would be unreasonably large, before anything is built."""
    circuits = [module for module in model.modules() if isinstance(module, PhotonicCircuit)]
    steps = sum(
        layer.columns + layer.experiment.n_photons * len(getattr(layer.input_state, "terms", "1"))
        for layer in circuits
    )
    amplitudes = [layer for layer in circuits if layer.ansatz.needs_amplitudes]
    size = sum(slots_bytes(layer.fock_space, 8) for layer in amplitudes)
    if size > MOST_BYTES:
        states = max(layer.fock_space.size for layer in amplitudes)
        raise ValueError(
            f"{type(model).__name__} is too large to export: its photonic layer has "
            f"{in_digits(states)} outcomes, whose tables would be {in_bytes(size)} of constants in "
            f"the file (at most {in_bytes(MOST_BYTES)}); use format='state', and hybridlit where "
            "it predicts; or train with fewer photons or modes, or with "
            "output_mapping_strategy='pair_correlations', which needs no tables"
        )
    if steps > MOST_STEPS:
        raise ValueError(
            f"{type(model).__name__} is too deep to export: its circuit has {steps} columns of "
            f"data phases and photons together (at most {MOST_STEPS}), each some operations of the "
            "graph, which would take minutes to make and to load; use format='state', and "
            "hybridlit where it predicts; or train with circuit_type='series', which has the "
            "fewest columns, or a smaller quantum_dim"
        )


def exported(whole: WholeModel, rows: Tensor) -> ExportedProgram:
    """Return the graph of a model in real arithmetic for batches of any size, from 2 raw rows on.

    It is refused if torch cannot make one, or if it needs another library where it runs.
    """
    foreign = [
        f"{name} ({type(module).__name__})"
        for name, module in photonic_modules(whole.model).items()
    ]
    of_others = (
        f"; photonic modules of other libraries are exported as they are: {', '.join(foreign)}"
        if foreign
        else ""
    )
    name = type(whole.model).__name__
    try:
        with quiet():
            shapes = ({0: Dim("batch")},)
            program = torch.export.export(whole, (rows,), dynamic_shapes=shapes, strict=False)
    except Exception as error:  # of any class, from torch or from a module of the user
        why = str(error).strip().partition("\n")[0]
        raise ValueError(f"torch.export cannot take {name}: {why}{of_others}") from error
    gc.collect()  # torch leaves classes of the modules' names, which a recipe could mean as well
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine, which go to whoever gets it
    targets = {node.target for node in program.graph.nodes if node.op == "call_function"}
    needed = sorted(
        str(target) for target in targets if getattr(target, "namespace", "aten") not in _TORCH
    )
    if needed:
        raise ValueError(
            f"{name} cannot be exported: it would need operators that a process without their "
            f"library has not, {', '.join(needed)}{of_others}"
        )
    return program


@contextmanager
def quiet() -> Iterator[None]:
    """Keep notes of torch's exporters to their developers from the user; errors are raised.

    Attention is kept from its fused operator, which other runtimes do not have.
    """
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels, fused = [logger.level for logger in loggers], torch.backends.mha.get_fastpath_enabled()
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        torch.backends.mha.set_fastpath_enabled(False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
