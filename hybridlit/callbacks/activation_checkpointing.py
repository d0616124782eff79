"""Activation checkpointing: compute parts of a model again instead of keeping what they saved."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from hybridlit.analysis.recording import recorded
from hybridlit.argument_types import checked
from hybridlit.callbacks.log_keys import LogKey
from hybridlit.callbacks.measuring.copies import copy_of, has_forward, inputs_of, run_forward
from hybridlit.callbacks.measuring.recomputation import recompute, stop_recomputing
from hybridlit.callbacks.measuring.reports import log_largest, training_goes_on
from hybridlit.callbacks.measuring.undoing import Undoing
from hybridlit.checks import number
from hybridlit.components import model_parts, photonic_modules
from hybridlit.internals.torch import StorageWeakRef, is_compiled
from hybridlit.ranks import alone
from hybridlit.templates.network import HybridNetwork
from hybridlit.undisturbed import undisturbed

__all__ = ["ActivationCheckpointing"]


class ActivationCheckpointing(Undoing):
    """Keep only the inputs of chosen parts for the backward pass, and run these parts again there.

    Less memory for one more forward pass of these parts (Chen et al., arXiv:1604.06174); what is
    trained is the same bit for bit: random numbers are replayed, and buffers, such as the running
    statistics of batch normalization, are updated once. (Not replayed are generators of a module's
    own.) Only training with gradients is affected, and all is undone when the run ends, be it by an
    error. Parts must be called as modules, `self.part(x)`; a part in evaluation mode, such as a
    frozen front, is left alone, and so is the photonic layer of a template with
    `checkpoint_quantum`, which does the same.

    What of a photonic layer is no longer kept are the probabilities of all outcomes, which a linear
    readout needs, and the intermediate states of the simulation. They come back for a moment in the
    backward pass, part after part, so that the peak falls where several parts take turns or much
    else is kept, and not for one large circuit alone.

    Recomputation costs time: on a small model some 0.3 ms a part and step, a fifth of the step. If
    the first batch shows that it would save less than `min_saved_mib`, it is turned off, and said.

    Logged in the first epoch, measured once on a copy of the model and the first training batch,
    the largest values of all processes: `checkpointing/kept_bytes` and `checkpointing/saved_bytes`,
    0 if it turned itself off.

    Args:
        components: What to checkpoint: `"photonic"` for every photonic layer, `"classical"` for
            every classical part, or names of parts, such as `"classical_path"`; see `model_parts`.
        min_saved_mib: Smallest saving of a batch that is worth the time, in MiB, at least 0; 0
            recomputes whatever it saves. A model that cannot be measured is always checkpointed.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is empty or out of range; when training begins, if a name is
            unknown, or a part compiled.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> sparing = ActivationCheckpointing(["photonic", "classical_path"])
        >>> trainer = Trainer(accelerator="cpu", callbacks=[sparing])
    """

    @checked
    def __init__(
        self, components: Sequence[str] = ("photonic",), min_saved_mib: float = 1.0
    ) -> None:
        if not components:
            raise ValueError("components must name something to checkpoint, got none")
        number(min_saved_mib, "min_saved_mib", minimum=0.0)
        self.components = list(components)
        self.min_saved_mib = min_saved_mib
        self._active: dict[str, nn.Module] = {}
        self._measured = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse unknown names, before anything is changed."""
        self._chosen(pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Turn recomputation on."""
        chosen = self._chosen(pl_module)
        if isinstance(pl_module, HybridNetwork) and pl_module.hparams["checkpoint_quantum"]:
            already = [name for name, module in chosen.items() if photonic_modules(module)]
            if already:
                rank_zero_info(f"checkpoint_quantum recomputes {_listed(already)} already.")
            chosen = {name: module for name, module in chosen.items() if name not in already}
        elif not chosen:
            rank_zero_warn(f"the model has nothing that is {_listed(self.components)}")
        self._measured = not chosen
        for name, module in chosen.items():
            recompute(module)
            self._active[name] = module

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Measure what is saved, on the first batch; turn it off if that is too little."""
        if self._measured:
            return
        self._measured = True
        name = type(pl_module).__name__
        unmeasured = "what activation checkpointing saves is not measured"
        if not has_forward(pl_module):
            rank_zero_warn(f"{unmeasured}: {name} defines no forward(inputs)")
            return
        unmeasured += f", since forward(inputs) of {name} failed on a copy of the model"
        measured: tuple[int, int] | None = None
        with training_goes_on(lambda error: rank_zero_warn(f"{unmeasured}: {error}")):
            measured = self._measure(trainer, pl_module, batch)
        # all processes or none: those that have measured would wait for the others
        if not trainer.strategy.reduce_boolean_decision(measured is not None) or measured is None:
            return
        kept, without = measured
        kept = self._decide(trainer, pl_module, kept, without)
        log_largest(pl_module, {LogKey.KEPT(): float(kept), LogKey.SAVED(): float(without - kept)})

    def _chosen(self, model: nn.Module) -> dict[str, nn.Module]:
        """Return the modules by name, none of them inside another one."""
        parts = model_parts(model)
        groups = {
            "photonic": photonic_modules(model),
            "classical": {name: m for name, m in parts.items() if not photonic_modules(m)},
        }
        chosen: dict[str, nn.Module] = {}
        for name in self.components:
            if name not in groups and name not in parts:
                raise ValueError(
                    f"components must be among {[*groups, *parts]} for this model, got {name!r}"
                )
            chosen |= groups[name] if name in groups else {name: parts[name]}
        compiled = [module for module in model.modules() if is_compiled(module)]
        for name, module in chosen.items():
            own = set(module.modules())
            if any(outer in own or module in set(outer.modules()) for outer in compiled):
                raise ValueError(
                    f"{name!r} is compiled, and torch.compile decides itself what it computes "
                    "again: leave it out of components, or do not compile it"
                )
        inside = {id(m) for outer in chosen.values() for m in outer.modules() if m is not outer}
        return {name: module for name, module in chosen.items() if id(module) not in inside}

    def _undo(self) -> None:
        for module in self._active.values():
            stop_recomputing(module)
        self._active = {}

    def _decide(self, trainer: Trainer, model: LightningModule, kept: int, without: int) -> int:
        """Say what is saved, turn recomputation off if that is too little; return what is kept."""
        # processes with other batches must not decide otherwise, so the largest saving counts
        own = torch.tensor(float(without - kept), device=model.device)
        saved = float(trainer.strategy.reduce(own, reduce_op="max"))
        what = f"Activation checkpointing of {_listed(self._active)}"
        found = f"{(without - kept) / 2**20:.3g} of {without / 2**20:.3g} MiB"
        if saved > 0 and saved >= self.min_saved_mib * 2**20:
            rank_zero_info(f"{what} saves {found} that a batch keeps for the backward pass.")
            return kept
        if saved <= 0:
            rank_zero_info(f"{what} saves nothing here: it is off.")
        else:
            rank_zero_info(
                f"{what} would save {found} that a batch keeps for the backward pass, less than "
                f"min_saved_mib={self.min_saved_mib:g}: it is off."
            )
        self._undo()
        return without

    def _measure(self, trainer: Trainer, pl_module: LightningModule, batch: Any) -> tuple[int, int]:
        """Return the bytes kept with and without checkpointing; say which modules did not run."""
        model = copy_of(pl_module)
        copies = {name: model.get_submodule(name) for name in self._active}
        held = [*model.parameters(), *model.buffers(), inputs_of(model, batch)]

        def run() -> None:
            with undisturbed(), alone():
                run_forward(model, batch, trainer.precision_plugin)

        with recorded(copies, keep=lambda _: True) as calls:
            kept = _kept_bytes(run, held)
        for module in copies.values():
            stop_recomputing(module)
        without = _kept_bytes(run, held)
        idle = [name for name, module in copies.items() if not (calls[name] and module.training)]
        if idle:
            rank_zero_warn(
                f"{_listed(idle)} did not run as a module in training mode, so nothing of it is "
                "recomputed: call it as self.part(x), or leave it out of components"
            )
        return kept, without


def _kept_bytes(run: Callable[[], object], held: list[Any]) -> int:
    """Return the size of all storages that a forward pass keeps, other than those held anyway.

    Nothing is kept while it is counted, so that this takes no more memory than an evaluation.
    """
    sizes: dict[StorageWeakRef, int] = {}  # weak references keep an address from being used twice

    def pack(tensor: Tensor) -> None:
        if tensor.layout is torch.strided:
            storage = tensor.untyped_storage()
            sizes[StorageWeakRef(storage)] = storage.nbytes()

    def unpack(_: None) -> Tensor:
        raise RuntimeError("this forward pass has no backward pass")

    with torch.enable_grad(), saved_tensors_hooks(pack, unpack):
        run()
    for tensor in held:
        if isinstance(tensor, Tensor) and tensor.layout is torch.strided:
            sizes.pop(StorageWeakRef(tensor.untyped_storage()), None)
    return sum(sizes.values())


def _listed(names: Collection[str]) -> str:
    return ", ".join(names)
