"""Pictures of what the light does while a model trains."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from PIL import Image
from torch import Tensor, nn
from torch.optim import Optimizer

from hybridlit.analysis.evaluation import to_device_of
from hybridlit.analysis.pictures.circuit_text import describe_circuit, summarize_circuit
from hybridlit.analysis.pictures.drawing import draw_circuit
from hybridlit.analysis.pictures.heat_map import Picture
from hybridlit.analysis.pictures.layer_pictures import layer_pictures
from hybridlit.analysis.pictures.samples import CallRows, Probe, group_samples, rows_of_calls
from hybridlit.analysis.pictures.style import pixels
from hybridlit.analysis.recording import copied, recorded
from hybridlit.argument_types import checked
from hybridlit.callbacks.log_keys import LogKey
from hybridlit.callbacks.measuring.copies import has_forward
from hybridlit.callbacks.measuring.epochs import checked_epochs, say_missed
from hybridlit.callbacks.measuring.first_loader import FirstLoader
from hybridlit.callbacks.measuring.reports import boards, last_step, show_picture, training_goes_on
from hybridlit.checks import integer
from hybridlit.components import photonic_modules
from hybridlit.photonics import PhotonicCircuit
from hybridlit.undisturbed import undisturbed

__all__ = ["PhotonicInspector"]


class PhotonicInspector(FirstLoader):
    """Show what the light does: where photons go by class, interferometers, phases, gradients.

    At chosen epochs a probe, the first validation batches (of training until there has been a
    validation), runs through the model in evaluation mode. Of every photonic layer, pictures show,
    as `photonics/<module>/<picture>`, with the number of the circuit in a stack as `<module>/<k>`:

    - `outcomes`: mean probability of each outcome by class, or by fifths of a real target;
    - `modes`: mean photon number of each output mode by class;
    - `output`: mean output by class, where there are no outcomes or the layer is not ours;
    - `interferometers`: magnitudes of each unitary;
    - `phases`: a and b of each cell of each mesh, or the trainable angles of a circuit of
      components, and their histogram;
    - `phase_gradients`: the same for the gradient in the last optimizer step of the epoch that had
      one, before clipping;
    - `readout`: weights of a linear readout;
    - `circuit`: a drawing of the circuit, when training begins (with matplotlib only).

    Pictures and histograms go to TensorBoard, with a text that describes circuit and cost,
    `photonics/<module>`; without a TensorBoard logger, pictures are saved as PNG files in
    `photonics/` of the log directory. Training is bit for bit the same with and without this
    callback, also where something cannot be shown: a warning says so, and training goes on. Nothing
    is logged as a scalar.

    Args:
        epochs: The epochs to show, from 0; None: epochs 0, 63, 255, 1023, ... and the last, or
            what `every_n_epochs` says.
        every_n_epochs: Show epochs 0, n, 2n, ... and the last, at least 1.
        max_samples: Samples of the probe at most, at least 1.
        max_circuits: Circuits of a stack shown at most, at least 1, the first ones; the text says
            how many there are.
        save: Save PNG files as well; None: only without a TensorBoard logger.

    Raises:
        TypeError: If an argument has the wrong type; when training begins, if a batch is no pair of
            inputs and targets and the model has no method `unpack`.
        ValueError: If an argument is out of range, or both `epochs` and `every_n_epochs` are given.

    Example:
        >>> inspector = PhotonicInspector(every_n_epochs=10)
        >>> [epoch for epoch in range(25) if inspector.shows(epoch)]
        [0, 10, 20]
    """

    @checked
    def __init__(
        self,
        epochs: list[int] | None = None,
        every_n_epochs: int | None = None,
        max_samples: int = 512,
        max_circuits: int = 4,
        save: bool | None = None,
    ) -> None:
        self.epochs, self.every_n_epochs = checked_epochs(epochs, every_n_epochs, "every_n_epochs")
        self.save = save
        self.max_samples = integer(max_samples, "max_samples", 1)
        self.max_circuits = integer(max_circuits, "max_circuits", 1)
        self._begin()

    def _begin(self) -> None:
        self._modules: dict[str, nn.Module] = {}
        self._gradients: dict[str, Tensor] = {}
        self._training, self._validation = Probe("training"), Probe("validation")
        self._validated = False
        self._epoch: int | None = None
        self._shown: int | None = None
        self._directory: Path | None = None

    def shows(self, epoch: int) -> bool:
        """Tell whether an epoch is chosen; the last is shown as well, unless `epochs` are given."""
        if self.epochs is not None:
            return epoch in self.epochs
        if self.every_n_epochs is not None:
            return epoch % self.every_n_epochs == 0
        number = epoch + 1  # 1, or a power of four: one bit, at an even place
        return number == 1 or (
            number >= 64 and number & (number - 1) == 0 and number.bit_length() % 2 == 1
        )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the photonic modules, and where files go."""
        self._begin()
        self._modules = {n or "model": m for n, m in photonic_modules(pl_module).items()}
        directory = trainer.log_dir  # asks all processes, so before those that draw nothing leave
        on_board = bool(boards(trainer))
        if (self.save or (self.save is None and not on_board)) and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._directory = Path(directory or trainer.default_root_dir) / "photonics"
        if not self._modules:
            rank_zero_warn(
                f"PhotonicInspector shows nothing: {type(pl_module).__name__} has no photonic "
                "module; layers of other libraries go through mark_photonic"
            )
        elif not has_forward(pl_module):
            raise TypeError(
                f"{type(pl_module).__name__} must define forward(inputs) for PhotonicInspector to "
                "run it on a probe: define it, or leave the callback out"
            )
        say_missed(self.epochs, trainer, "shown")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Describe and draw the circuits."""
        if not trainer.is_global_zero:
            return
        batch_size = getattr(trainer.train_dataloader, "batch_size", None) or 1
        for place, module in self._modules.items():
            if not isinstance(module, PhotonicCircuit):
                continue
            with training_goes_on(f"PhotonicInspector's text of {place}"):
                for board in boards(trainer):
                    text = self._summary(module, batch_size)
                    board.experiment.add_text(LogKey.CIRCUIT(place), text)
            with training_goes_on(f"PhotonicInspector's drawing of {place}"):
                with suppress(ImportError):  # matplotlib is an extra; the text has a drawing too
                    self._show(trainer, place, "circuit", pixels(draw_circuit(module)), "start")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the gradients of the epoch before: this one may train something else."""
        self._gradients.clear()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the first training batches, for runs without validation."""
        if trainer.is_global_zero and self._modules:
            self._training.add(pl_module, batch, self.max_samples)

    def _see(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any) -> None:
        """Keep the first validation batches."""
        if trainer.is_global_zero and self._modules and not self._validated and not trainer.testing:
            self._validation.add(pl_module, batch, self.max_samples)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take no more batches after the first validation: they would come twice."""
        self._validated = self._validated or not trainer.sanity_checking

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Copy the gradients of the phases."""
        if not trainer.is_global_zero:
            return
        for name, module in self._modules.items():
            if isinstance(module, PhotonicCircuit) and module.phases.grad is not None:
                self._gradients[name] = module.phases.grad.detach().clone()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show this epoch, if it was chosen."""
        self._epoch = trainer.current_epoch
        if self.shows(self._epoch):
            self._inspect(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the last epoch, unless `epochs` leave it out, and let go of the probe."""
        if self.epochs is None and self._epoch is not None and self._shown != self._epoch:
            self._inspect(trainer, pl_module)
        self._begin()

    def _inspect(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._shown = self._epoch
        probe = self._validation if self._validation.batches else self._training
        if not trainer.is_global_zero or not self._modules or not probe.batches:
            return
        with (
            training_goes_on(f"PhotonicInspector's look at epoch {self._epoch}"),
            undisturbed(pl_module, silent=True, whole=True),
            torch.no_grad(),
        ):
            pl_module.eval()
            with recorded(self._modules, copied) as calls:
                with trainer.precision_plugin.val_step_context():
                    for inputs, _ in probe.batches:
                        pl_module(to_device_of(pl_module, inputs))
            groups = group_samples(torch.cat([targets for _, targets in probe.batches]))
            for name, module in self._modules.items():
                with training_goes_on(f"what PhotonicInspector shows of {name}"):
                    rows = rows_of_calls(module, calls[name], groups)
                    self._show_module(trainer, name, module, rows, probe)

    def _show_module(
        self, trainer: Trainer, place: str, module: nn.Module, rows: CallRows | None, probe: Probe
    ) -> None:
        if rows is None:
            rank_zero_warn(
                f"PhotonicInspector cannot show what {place} does by class: forward must call it "
                "once, with a tensor whose first dimension is the batch, and it must return a real "
                "tensor"
            )
        title, samples = f"{place}, epoch {self._epoch}", f"{probe.size} {probe.name} samples"
        gradient = self._gradients.get(place)
        for what, picture in layer_pictures(
            module, rows, gradient, title, samples, self.max_circuits
        ):
            self._show(trainer, place, what, picture, f"epoch_{self._epoch:04d}")
        if isinstance(module, PhotonicCircuit) and module.phases.numel():
            turned = (module.angles().detach() % (2 * torch.pi)).cpu()
            for board in boards(trainer):
                tag = LogKey.PICTURE(place, "phases")
                board.experiment.add_histogram(tag, turned, last_step(trainer))

    def _summary(self, module: PhotonicCircuit, batch_size: int) -> str:
        drawing = describe_circuit(module)
        shown = min(self.max_circuits, module.count or 1)
        stack = f"\n\nPictures show {shown} of {module.count} circuits." if module.count else ""
        return f"```\n{drawing}\n```\n\n{summarize_circuit(module, batch_size)}{stack}"

    def _show(self, trainer: Trainer, place: str, what: str, picture: Picture, when: str) -> None:
        for board in boards(trainer):
            show_picture(board, LogKey.PICTURE(place, what), picture, last_step(trainer))
        if self._directory is not None:
            path = self._directory / when / f"{place}_{what.replace('/', '_')}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
