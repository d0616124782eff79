"""The paths of a template: their outputs pass through a `Paths`, and any may be left out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim import Optimizer

from hybridlit.blocks.named_inputs import NamedInputs
from hybridlit.blocks.paths import Paths
from hybridlit.checks import choice, number

__all__ = ["HavingPaths"]

_STRIDE = 4
"""One of so many training batches counts in the means: all would cost 6 % of a small step."""


class HavingPaths(LightningModule):
    """What a template does with its paths: the part of `HybridNetwork` that may lose some.

    Attributes:
        paths: The outputs of the paths that `without` knows, or None.
    """

    paths: Paths | None

    @contextmanager
    def without(self, *names: str) -> Iterator[None]:
        """Run the model without some of its paths, until the block ends.

        The mean output of a path over the latest training rows stands in for it, see `Paths`; it is
        in checkpoints. The path itself still runs.

            with model.without("quantum_path"):
                model.predict(rows)

        Args:
            *names: `"classical_path"` and `"quantum_path"` of a `ParallelHybrid`, `"layer_0"` and
                so on of a `ParallelBankHybrid`, `"quantum_residual"` of a `ResidualHybrid`,
                `"quantum_layer"` of a `SequentialHybrid`; or names of `inputs`.

        Raises:
            ValueError: If there is no such path, or it has seen no training rows.
        """
        if self.paths is None:
            raise ValueError(
                f"{type(self).__name__} has no paths that it could do without: call self.add_paths "
                "in its constructor and self.run_paths in its forward"
            )
        every = self._every_paths()
        for name in names:
            choice(name, "each path", [known for each in every for known in each.names])
        with ExitStack() as stack:
            for each in every:
                stack.enter_context(each.without(*(n for n in names if n in each.names)))
            yield

    # --- for subclasses ---------------------------------------------------------------------------

    def begin_paths(self, path_dropout: float) -> None:
        """Check the argument; there are no paths yet."""
        number(path_dropout, "path_dropout", minimum=0.0, below=1.0)
        self.paths = None

    def add_paths(self, widths: dict[str, int]) -> None:
        """Add `paths` with outputs of these widths, by name, for `run_paths` in `forward`."""
        dropout = self.hparams["path_dropout"]
        if dropout and len(widths) == 1:
            raise ValueError(
                f"path_dropout must be 0 in a {type(self).__name__} whose only path is "
                f"{next(iter(widths))}, got {dropout}: rows that lose it would have nothing in its "
                "place; it is for ParallelHybrid, and for ParallelBankHybrid with several layers"
            )
        both = widths.keys() & (self.hparams["inputs"] or {}).keys()
        if both:
            raise ValueError(
                f"inputs must have other names than the paths of {type(self).__name__}, got "
                f"{sorted(both)} for both"
            )
        self.paths = Paths(widths, dropout)

    def run_paths(self, *outputs: Tensor) -> list[Tensor]:
        """Put means in the place of the outputs of paths that are lost, if there are `paths`."""
        return list(outputs) if self.paths is None else self.paths(outputs)

    # --- Lightning --------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Refuse a `path_dropout` that nothing would heed; forget an interrupted step."""
        super().on_fit_start()
        for each in self._every_paths():
            each.settle(count=False)
        dropout = self.hparams["path_dropout"]
        if dropout and self.paths is None:
            raise ValueError(
                f"path_dropout={dropout} has no effect in {type(self).__name__}: call "
                "self.add_paths in its constructor and self.run_paths in its forward"
            )

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of a training batch; the first of every 4 counts in the means."""
        every = self._every_paths()
        if self.paths is not None:
            self.paths.remembering = batch_idx % _STRIDE == 0
        for each in every:
            each.waiting = True
        try:
            return super().training_step(batch, batch_idx)  # type: ignore[return-value]
        finally:
            for each in every:
                each.waiting, each.remembering = False, True

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Let the batches count in the means whose step is taken now, and none that is not."""
        for each in self._every_paths():
            each.settle(together=self.trainer.world_size > 1)

    def _every_paths(self) -> list[Paths]:
        inputs = self.front.paths if isinstance(self.front, NamedInputs) else None
        return [each for each in (self.paths, inputs) if each is not None]
