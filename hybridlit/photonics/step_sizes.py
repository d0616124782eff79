"""What a forward and backward pass through a circuit's outcomes takes, whatever light it is of.

`sizes`, `state_sizes` and `noise.sizes` count the bytes of one way of computing each. Which of
them a circuit takes, and what of that is shared, kept, or the kernel's own, is said here alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch

from hybridlit.photonics.experiment import Experiment
from hybridlit.photonics.fock import FockSpace
from hybridlit.photonics.kernels.choice import chosen_kernel, compiled_refuses
from hybridlit.photonics.kernels.compiled import goes_by_cells
from hybridlit.photonics.machine import available_memory
from hybridlit.photonics.noise.compiled import light_refuses
from hybridlit.photonics.noise.program import Program
from hybridlit.photonics.noise.sizes import (
    light_bytes,
    light_scratch,
    light_tables,
    light_work,
    shown_bytes,
)
from hybridlit.photonics.sizes import (
    kept_bytes,
    peak_bytes,
    require_memory,
    scratch_bytes,
    selection_bytes,
    table_bytes,
    transition_bytes,
)
from hybridlit.photonics.state_sizes import state_bytes
from hybridlit.words import in_bytes, in_digits

if TYPE_CHECKING:
    from hybridlit.photonics.base import PhotonicCircuit
    from hybridlit.photonics.speed import Speed

__all__ = ["Step"]


@dataclass(frozen=True)
class Step:
    """A forward and backward pass through the outcomes of a circuit, or of several at once.

    Attributes:
        experiment: The circuit.
        columns: Columns of its data phases; 0 without data.
        samples: Samples of all circuits; without data one each, or the states that enter.
        dtype: Real dtype.
        terms: Of the states that enter; 0: photons in each mode.
        circuits: Circuits simulated as one, which share their tables.
        recompute: As for the layer.
        device: Where it would run.
        slots: Of how many matrices each interferometer is the product; 0: it is a whole mesh.
        interferes: Whether photons interfere with one another.
    """

    experiment: Experiment
    columns: int
    samples: int
    dtype: torch.dtype
    terms: int = 0
    circuits: int = 1
    recompute: bool | None = None
    device: str = "cpu"
    slots: int = 0
    interferes: bool = True

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        features: int,
        batch: int,
        dtype: torch.dtype,
        *,
        circuits: int = 1,
        recompute: bool | None = None,
        device: str = "cpu",
    ) -> Step:
        """Return the step of a circuit that gets features.

        Args:
            experiment: The circuit.
            features: Number of features; 0 for a circuit without data, simulated once a step.
            batch: Samples of each circuit.
            dtype: As above, and so are the others.
            circuits: As above.
            recompute: As above.
            device: As above.
        """
        lowering, state = experiment.lowering(features), experiment.superposition
        return cls(
            experiment,
            lowering.columns if features or state is None else 0,
            circuits * (batch if features else 1),
            dtype,
            0 if state is None else len(state.terms),
            circuits,
            recompute,
            device,
            0 if lowering.slots is None else lowering.slots.matrices.shape[1],
        )

    @classmethod
    def of_call(
        cls, layer: PhotonicCircuit, given: tuple[Any, ...], named: Mapping[str, Any]
    ) -> Step | None:
        """Return the step of a call of a layer on the CPU; None if no outcomes are simulated.

        Matrices that interferometers are products of are not in it: they are tensors.

        Args:
            layer: The layer or stack.
            given: What it takes by position.
            named: What it takes by name.
        """
        call = signature(layer.forward).bind(*given, **named).arguments
        state, superposition = call.get("state"), layer.experiment.superposition
        if state is None and not layer.ansatz.needs_amplitudes and layer.shots is None:
            return None
        batch, circuits = 1, layer.count or 1  # without data one sample serves all
        if layer.input_size:
            samples: int = call["x"].numel() // layer.input_size
            batch = samples // circuits if call.get("each") else samples
        terms = 0 if superposition is None else len(superposition.terms)
        if state is not None:
            batch, terms = max(batch, state.shape[:-1].numel()), state.shape[-1]
        columns = layer.columns if layer.input_size or not terms else 0
        numbers = columns, batch * circuits, layer.phases.dtype, terms, circuits
        return cls(layer.experiment, *numbers, layer.recompute, interferes=layer.interferes)

    @cached_property
    def program(self) -> Program | None:
        """How light follows; None where all photons arrive and are counted."""
        return self.experiment.program_for(self.interferes)

    @cached_property
    def kernel(self) -> str:
        """What simulates photons in each mode, `"compiled"` or `"torch"`."""
        if self._forced:
            return "torch"
        if self.program is None:
            refused = compiled_refuses(self.experiment.fock_space, self.device, self.dtype)
        else:
            refused = light_refuses(self.program, self.device, self.dtype)
        return "torch" if refused else "compiled"

    @property
    def space(self) -> FockSpace:
        """States whose amplitudes are simulated; of one photon where light is made of columns."""
        own, program = self.experiment.fock_space, self.program
        if program is None:
            return own
        if self.terms:
            return FockSpace(own.modes, own.photons, program.space)
        return FockSpace(own.modes, own.photons if program.behind_photons else 1)

    @property
    def states(self) -> int:
        """Number of states whose probabilities are simulated for each sample of a circuit."""
        return (self.experiment.fock_space if self.program is None else self.program.light).size

    @property
    def peak(self) -> int:
        """Bytes at the peak, above what was in use before, with the gradient of the outcomes."""
        found, circuit, rows = self._of_amplitudes(), self.experiment, self.samples
        if self.program is not None:
            found += light_bytes(self.program, rows, self.dtype, self.kernel)
            found += shown_bytes(circuit.outcomes, rows, self.dtype)
        elif circuit.rule is not None:  # by which torch operations choose
            found += selection_bytes(circuit.outcomes.size, rows, self.dtype)
        return found

    @property
    def tables(self) -> dict[Hashable, int]:
        """Bytes of what layers of one shape share, by what it is of; they are in the peak."""
        found: dict[Hashable, int] = {}
        if not self.terms:
            if self.kernel == "compiled":
                found["compiled", self.space] = table_bytes(self.space)
            else:
                found["torch", self.space] = transition_bytes(self.space, self.dtype.itemsize)
        if self.program is not None and self.kernel == "compiled":
            found[self.program] = light_tables(self.program)
        return found

    @property
    def kept(self) -> int:
        """Bytes of intermediate states that the compiled kernel keeps for the backward pass."""
        if self.terms or self.kernel == "torch" or self._of_light:  # tensors, if anything
            return 0
        rows = -(-self.samples // self.circuits)
        return kept_bytes(
            self.space, rows, self.dtype, self.columns, self._inputs, self.recompute, self.circuits
        )

    @property
    def scratch(self) -> int:
        """Bytes of the compiled kernel's own for each thread."""
        if self.kernel == "torch":
            return 0
        found = 0
        if not self.terms:
            by_cells = goes_by_cells(
                not self.slots, self._inputs, self.space.modes, self.samples, self.dtype.itemsize,
                self.circuits,
            )  # fmt: skip
            found = scratch_bytes(self.space, self.dtype, self.columns, self._inputs, by_cells)
        if self.program is not None:
            found = max(found, light_scratch(self.program, self.dtype))
        return found

    @property
    def tensors(self) -> int:
        """Bytes of outcomes, data phases and their gradients, which are tensors on any device.

        Of states of several terms 0: amplitudes stand for them, which are no more than estimated.
        """
        if self.terms:
            return 0
        circuit = self.experiment
        numbers = self.space.size if self.program is None else circuit.outcomes.size
        if self.program is None and circuit.rule is not None:
            numbers += 2 * circuit.outcomes.size
        if self.kernel == "compiled":
            numbers += self.columns * circuit.n_modes
        return 2 * self.samples * numbers * self.dtype.itemsize

    def seconds(self, speed: Speed) -> float | None:
        """Return the time of one thread, but for what makes matrices; None where it is not known.

        Args:
            speed: How fast the machine is.
        """
        if self.kernel != "compiled" or self.terms:  # another computation than was measured
            return None
        space, program = self.experiment.fock_space, self.program
        if self._of_light:
            space = FockSpace(space.modes, 1)
        found = speed.of_simulation(
            space, self.samples, self.columns, self._inputs, self.circuits, not self.slots
        )
        if program is not None:
            found += speed.of_light(*light_work(program), self.samples)
        return found

    def require_memory(self) -> int:
        """Refuse what cannot fit into the memory of this machine.

        Returns:
            Bytes that would be left at the peak; 0 on other devices.

        Raises:
            MemoryError: With the estimate and what would fit.
        """
        if self.device != "cpu":
            return 0
        free, needed = available_memory(), self.peak
        if needed <= free:
            return free - needed
        space = self.experiment.fock_space
        if self.program is None and not self.terms and not self.experiment.rule:
            require_memory(
                space, self.samples, self.dtype, self.device, recompute=self.recompute,
                columns=self.columns, circuits=self.circuits,
            )  # fmt: skip
        fitting = self.samples
        while fitting and replace(self, samples=fitting).peak > free:
            fitting //= 2
        fits = f"a batch of {fitting}" if fitting else "fewer photons or modes"
        raise MemoryError(
            f"{space.modes} modes and {space.photons} photons have {in_digits(space.size)} states: "
            f"a batch of {self.samples} needs about {in_bytes(needed)} of the {in_bytes(free)} "
            f"free; what would fit: {fits}"
        )

    @property
    def _forced(self) -> bool:
        return chosen_kernel() == "torch"

    @property
    def _of_light(self) -> bool:
        """Whether nothing but columns is made before there is light."""
        return self.program is not None and not self.program.behind_photons

    @property
    def _inputs(self) -> int:
        if self.program is not None:
            return len(self.program.inputs)
        return sum(1 for photons in self.experiment.mean_photons if photons)

    def _of_amplitudes(self) -> int:
        """Bytes of everything before light, or of all there is."""
        if self.terms:
            return state_bytes(
                self.space, self.samples, self.dtype, terms=self.terms, columns=self.columns
            )
        elsewhere = self.device != "cpu" or self._forced
        recompute = True if self._of_light else self.recompute  # of columns nothing is kept
        return peak_bytes(
            self.space, self.samples, self.dtype, self.kernel, recompute,
            columns=self.columns, inputs=self._inputs, circuits=self.circuits,
            meshes_in_torch=elsewhere, slots=self.slots,
        )  # fmt: skip
