"""A chip as a model: heaters' voltages and light that enters -> what detectors measure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Adam

from hybridlit.blocks.heaters import CrosstalkName, HeaterResponse
from hybridlit.checks import choice, integer, number
from hybridlit.photonics import Circuit
from hybridlit.photonics.chip_layer import MEASURED, ChipLayer, MeasuredName
from hybridlit.templates.base import HybridModule
from hybridlit.templates.chip.course import Course, rate_at
from hybridlit.templates.chip.fitting import Rows, begin_fit, fit_step, training_rows
from hybridlit.templates.chip.light_task import Light
from hybridlit.templates.chip.likelihoods import LIKELIHOODS, LikelihoodName
from hybridlit.templates.chip.meshes import MeshName, chip_circuit, places_of_phases
from hybridlit.templates.chip.programming import Programmed, checked_limits, program
from hybridlit.templates.chip.run_checks import check_run
from hybridlit.templates.quantum import TWINS, QuantumName

__all__ = ["ChipTwin"]

_FIND_BATCHES = 600
"""Batches of a search, unless its epochs are given."""


class ChipTwin(HybridModule):
    """A chip as it is: voltages become phases in `classical_pre`, and light in `quantum_layer`.

    Everything in it has a meaning: offsets, responses of the heaters and crosstalk
    (`HeaterResponse`), reflectivities of the splitters and losses (`ChipLayer`). It is fitted by a
    Trainer in four parts. Averages over all rows tell losses and most offsets. From there a search
    of `find_epochs` with Adam, by squares of residuals, brings offsets, responses and losses near,
    with a chip that is ideal otherwise. Then an epoch is a step of Gauss and Newton for all
    parameters: three with crosstalk that depends on the distance alone, then with a number for each
    heater and phase. A search that ends in a wrong valley is begun
    anew, `starts` in all. Training ends by itself once steps change nothing more; `max_epochs` is
    where it ends at the latest.

    Features are the voltages of the heaters, then the power that enters each mode, or the number of
    photons; targets are what is measured, NaN where a detector is missing. `ChipDataModule` makes
    both of a table. Logged besides what `HybridModule` logs: `twin/misfit`, the root mean square of
    the residuals in standard deviations of the noise, which is about 1 at the end.

    Args:
        modes: Number of modes, at least 2.
        heaters: Which phase each heater is on; None: one on each.
        mesh: `"rectangular"` or `"triangular"`, with the phases of a cell on its upper mode, or
            `"bell_walmsley"`, with one in either arm; or a circuit, or its components in plain
            form, whose features are the phases that are turned.
        crosstalk: `"dense"` (a number for each heater and each other phase), `"distance"` or
            `"none"`.
        positions: Where each phase is on the chip, in pairs of numbers, for crosstalk by distance;
            None: its column and its mode.
        measured: `"intensities"` of light in one mode, or of two photons `"coincidences"`, or
            `"full_counts"` with those that are in the same mode.
        likelihood: `"gaussian"`, of powers, or `"poisson"`, of counts.
        noise: Standard deviation of what is measured, above 0; not of counts, which tell theirs.
        limits: Smallest and largest voltage; None: 0 and `full_turn`.
        full_turn: The voltage that is designed to turn a phase by 2 pi, above 0.
        indistinguishability: Of two photons, in [0, 1], to begin with.
        find_epochs: Epochs of a search, at least 1; None: as many as make 600 batches.
        find_lr: Learning rate of the offsets in a search, in radians, above 0; of the responses it
            is a tenth.
        starts: Searches there may be, at least 1.
        quantum: `"photonic"`, or `"mlp"` for a classical block of as many parameters in the place
            of the photonic layer. Such a model is trained as other templates are.
        **training: `metrics`, and of a model without a chip learning rates, schedules and the other
            arguments of `HybridModule`.

    Attributes:
        classical_pre: The heaters.
        quantum_layer: The chip.
        course: How far the fit has come.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range.

    Example:
        >>> import torch
        >>> twin = ChipTwin(4)
        >>> voltages, light = torch.rand(3, 12), torch.eye(4)[[0, 1, 2]]
        >>> twin(torch.cat([voltages, light], 1)).shape
        torch.Size([3, 4])
    """

    _rows: Rows | None = None

    def __init__(
        self,
        modes: int,
        heaters: list[int] | None = None,
        *,
        mesh: MeshName | Circuit | dict[str, Any] | list[dict[str, Any]] = "rectangular",
        crosstalk: CrosstalkName = "dense",
        positions: list[list[float]] | None = None,
        measured: MeasuredName = "intensities",
        likelihood: LikelihoodName = "gaussian",
        noise: float = 1e-3,
        limits: list[float] | None = None,
        full_turn: float = 1.0,
        indistinguishability: float = 1.0,
        find_epochs: int | None = None,
        find_lr: float = 0.1,
        starts: int = 5,
        quantum: QuantumName = "photonic",
        **training: Any,
    ) -> None:
        choice(measured, "measured", MEASURED)
        outputs = MEASURED[measured].size(integer(modes, "modes", 2))
        super().__init__(output_dim=outputs, task="regression", **training)
        self.begin_steps(Light(outputs))
        choice(likelihood, "likelihood", LIKELIHOODS)
        choice(quantum, "quantum", TWINS)
        number(noise, "noise", above=0.0)
        number(find_lr, "find_lr", above=0.0)
        number(full_turn, "full_turn", above=0.0)
        if find_epochs is not None:
            integer(find_epochs, "find_epochs", 1)
        integer(starts, "starts", 1)
        self.limits = (0.0, float(full_turn)) if limits is None else checked_limits(limits)
        self.likelihood, self.noise = LIKELIHOODS[likelihood], noise
        circuit = chip_circuit(modes, mesh)
        if not isinstance(mesh, str):
            own: Any = circuit.plain()["components"]
            self.keep_plain("mesh", own, self.own_arguments.get("mesh") is not None)
        chip = ChipLayer(circuit, measured, indistinguishability=indistinguishability)
        self.positions = places_of_phases(chip).tolist() if positions is None else positions
        if np.shape(self.positions) != (chip.turned, 2):
            raise ValueError(
                f"positions must be pairs of numbers, one for each of the {chip.turned} phases, "
                f"got shape {np.shape(self.positions)}"
            )
        self.classical_pre = self.build_classical_pre(chip.turned)
        self.quantum_layer = TWINS[quantum](lambda: chip, chip.input_size, None)
        self.hparams["input_dim"] = self.classical_pre.heaters + modes
        self._resting: list[nn.Parameter] = []
        self.course = Course(find_epochs or 1, starts, crosstalk == "dense")
        self._draw()

    def build_classical_pre(self, phases: int) -> HeaterResponse:
        """Build the heaters, from voltages to phases."""
        given = self.hparams
        return HeaterResponse(
            phases,
            given["heaters"],
            crosstalk=given["crosstalk"],
            positions=self.positions if given["crosstalk"] == "distance" else None,
            full_turn=given["full_turn"],
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map settings to what detectors measure.

        Args:
            x: Voltages of the heaters, then the power that enters each mode, shape (batch,
                heaters + modes).

        Returns:
            Shape (batch, outputs).
        """
        self.check_features(x)
        heaters = self.classical_pre.heaters
        phases = self.classical_pre(x[:, :heaters])
        light: Tensor = self.quantum_layer(torch.cat([phases, x[:, heaters:]], 1))
        return light

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean squared residual, or the mean deviance of counts; NaN is left out."""
        return self.likelihood.loss(outputs, targets, weights)

    def program(
        self,
        unitaries: npt.ArrayLike | Tensor,
        limits: tuple[float, float] | list[float] | None = None,
    ) -> Programmed:
        """Return voltages at which the chip does what is wanted, as far as the twin is right.

        Args:
            unitaries: `[out, in]`, shape (targets, modes, modes), or (modes, modes) of one.
            limits: The least and the largest voltage, in volts, 0 or more; None: those of the twin.

        Returns:
            `voltages` (targets, heaters), and what `fidelity` (targets,) to expect: see
            `hybridlit.templates.chip.programming.program`.

        Raises:
            ValueError: If there is no chip in it, or as `program` says.
        """
        heaters, chip = self.classical_pre, self.quantum_layer
        if not isinstance(chip, ChipLayer):
            raise ValueError(
                f"a twin needs its chip to be programmed, got quantum={self.hparams['quantum']!r}"
            )
        return program(heaters, chip, unitaries, self.limits if limits is None else limits)

    # --- Lightning --------------------------------------------------------------------------------

    @property
    def chip(self) -> ChipLayer:
        """The chip, of a model that has one."""
        assert isinstance(self.quantum_layer, ChipLayer)
        return self.quantum_layer

    @property
    def fits_a_chip(self) -> bool:
        """Whether it has its chip, and no block that stands in for it."""
        return isinstance(self.quantum_layer, ChipLayer)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer of a search; without a chip, that of other templates."""
        if not self.fits_a_chip:
            return super().configure_optimizers()
        rate, heaters, chip = self.hparams["find_lr"], self.classical_pre, self.quantum_layer
        groups = [
            {"name": "offsets", "params": [heaters.offset], "lr": rate},
            {"name": "responses", "params": [heaters.quadratic], "lr": rate / 10},
            {"name": "losses", "params": [chip.input_loss, chip.output_loss], "lr": 0.03},
        ]
        for group in groups:
            group["rate"] = group["lr"]
        return Adam(groups, betas=(0.9, 0.99))

    def setup(self, stage: str) -> None:
        """Refuse several processes: a step of Gauss and Newton needs all rows."""
        super().setup(stage)
        if self.trainer.world_size > 1 and stage == "fit" and self.fits_a_chip:
            raise ValueError(
                f"ChipTwin is fitted by one process, got {self.trainer.world_size}: give "
                "Trainer(devices=1)"
            )

    def on_fit_start(self) -> None:
        """Refuse data of other sizes, and callbacks that decide what is trained."""
        check_run(self)
        super().on_fit_start()
        self._first_targets = None  # its advice is about values of any size

    def on_train_start(self) -> None:
        """Gather the training rows, and begin a new fit."""
        super().on_train_start()
        if self.fits_a_chip:
            self._rows = training_rows(self)
            batches = float(self.trainer.num_training_batches)
            usual = max(1, math.ceil(_FIND_BATCHES / batches))
            self.course.find_epochs = self.hparams["find_epochs"] or usual
            if self.global_step == 0:
                begin_fit(self, self._rows)

    def on_train_epoch_start(self) -> None:
        """Begin another search if the last one was in vain; say what the epoch is for."""
        if not self.fits_a_chip or self._rows is None:
            return
        course, epoch = self.course, self.current_epoch
        if course.lost:
            course.begin(epoch)
            self._draw()
            self._rows.first_guess(self.classical_pre, self.chip)
            self.optimizers().state.clear()  # type: ignore[union-attr]
            rank_zero_info(f"ChipTwin: search {int(course.start) + 1} of {course.starts}")
        self._let_train(finding=course.finding(epoch))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of a training batch and log it, without metrics."""
        if not self.fits_a_chip:
            return super().training_step(batch, batch_idx)
        finding = self.course.finding(self.current_epoch)
        with torch.set_grad_enabled(finding):
            inputs, targets = self.unpack(batch)
            outputs = self(inputs)
            measured = self.prepare_targets(outputs, targets)
            loss = self.loss(outputs.detach(), measured)
            # whatever the likelihood: outputs that are dark on the way would outweigh all others
            sought = LIKELIHOODS["gaussian"].loss(outputs, measured) if finding else loss
        self.log(
            "train/loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(outputs)
        )
        self._check_finite(loss)
        return sought

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Compute gradients, of which steps of Gauss and Newton have no need."""
        if loss.requires_grad:
            super().backward(loss, *args, **kwargs)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Make a step of a search; or, behind an epoch's last batch, one of Gauss and Newton."""
        if not self.fits_a_chip:
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
            return
        if self.course.finding(epoch):
            part = batch_idx / max(1.0, float(self.trainer.num_training_batches))
            done = (epoch - int(self.course.began) + part) / self.course.find_epochs
            for group in optimizer.param_groups:
                group["lr"] = group["rate"] * rate_at(done)
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
            for group in optimizer.param_groups:
                group["lr"] = group["rate"]  # what checkpoints hold
            return
        assert optimizer_closure is not None
        optimizer_closure()
        if self.trainer.is_last_batch and self._rows is not None:
            fit_step(self, self._rows)
            if self.course.settled and not self.course.lost:
                self.trainer.should_stop = True

    def on_train_epoch_end(self) -> None:
        """Log how well the model fits."""
        super().on_train_epoch_end()
        if self.fits_a_chip and self.course.steps:
            self.log("twin/misfit", float(self.course.misfit))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the fit has begun with, which later steps stay near."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["chip_before"] = self.course.before

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it up again."""
        super().on_load_checkpoint(checkpoint)
        self.course.before = checkpoint.get("chip_before")

    def on_train_end(self) -> None:
        """Say it plainly if the fit has not converged."""
        if not self.fits_a_chip:
            return
        self._let_train(finding=False)
        self._rows = None
        course = self.course
        if not int(course.steps):
            why = f"a search takes {course.find_epochs} epochs, and steps follow: raise max_epochs"
        elif course.converged:
            return
        elif not course.settled:
            why = (
                f"residuals are {float(course.misfit):.3g} standard deviations of the noise and "
                "would fall further: raise max_epochs"
            )
        else:
            why = (
                f"residuals stay at {float(course.misfit):.3g} standard deviations of the noise: "
                f"give more settings, more starts than {course.starts}, or the noise as it is, "
                f"instead of noise={self.noise}"
            )
        rank_zero_warn(f"the fit of the chip has not converged: {why}")

    # --- inside -----------------------------------------------------------------------------------

    @torch.no_grad()
    def _draw(self) -> None:
        """Draw offsets; all else is as designed, but for what is known and frozen."""
        heaters, chip = self.classical_pre, self.quantum_layer
        known = [(each, each.clone()) for each in self.parameters() if not each.requires_grad]
        heaters.offset.uniform_(0, 2 * math.pi)
        heaters.linear.zero_()
        heaters.quadratic.fill_(2 * math.pi / heaters.full_turn**2)
        if heaters.leak is not None:
            heaters.leak.zero_()
        if isinstance(chip, ChipLayer):
            chip.reset_phases()
            for each in (chip.input_loss, chip.mode_loss, chip.output_loss):
                each.zero_()
            chip.overlap.fill_(self.hparams["indistinguishability"])
        for each, value in known:
            each.copy_(value)

    def _let_train(self, finding: bool) -> None:
        """Compute gradients in a search only of what it is about; what is frozen stays so."""
        heaters, chip = self.classical_pre, self.quantum_layer
        later = (heaters.linear, heaters.leak, chip.phases, chip.mode_loss, chip.overlap)
        if finding:
            self._resting += [p for p in later if isinstance(p, nn.Parameter) and p.requires_grad]
        for each in self._resting:
            each.requires_grad_(not finding)
        if not finding:
            self._resting.clear()
