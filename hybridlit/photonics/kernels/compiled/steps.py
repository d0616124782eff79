"""A small layer's whole step in machine code: encoding, circuit and linear readout.

Between calls all of a step is in one piece of memory: unitaries, tiles of the batch, data phases,
turned features or kept mass, and probabilities.
"""

from __future__ import annotations

from torch import Tensor

from hybridlit.photonics.kernels.compiled.calls import Layer, layer_of
from hybridlit.photonics.kernels.compiled.machine_code import entry_point
from hybridlit.photonics.kernels.compiled.plans import most_rows, plan_for

__all__ = ["Step", "step_of"]


class Step:
    """The kernels of a step of one circuit and precision; holds sizes only, as a `Layer` does.

    Args:
        layers: Those of the circuit, by whether meshes are applied to columns by cells.
    """

    def __init__(self, layers: tuple[Layer, Layer]) -> None:
        self.layers, layer = layers, layers[0]
        self._states, self._unbunched = layer.plan.states, layer.plan.unbunched
        self._phases = layer.depth * layer.plan.modes
        size = self._itemsize = layer.itemsize
        self._most_rows = most_rows(layer.plan.columns, layer.plan.modes, size)
        self._encode = entry_point("affine_kernels.encode", size)
        self._read = entry_point("affine_kernels.read", size)
        self._read_backward = entry_point("affine_kernels.read_backward", size)
        self._combine = entry_point("affine_kernels.combinations", size)

    def encoded(self, rows: Tensor, factors: Tensor) -> Tensor:
        """Return the data phases that `forward` makes, shape (columns * modes, batch)."""
        batch, features = rows.shape
        found, scratch = rows.new_empty(self._phases, batch), rows.new_empty(batch * features)
        self._encode(
            rows.data_ptr(), factors.data_ptr(), scratch.data_ptr(), found.data_ptr(), batch,
            features, self._phases,
        )  # fmt: skip
        return found

    def forward(
        self,
        rows: Tensor,
        factors: Tensor,
        phases: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        left: Tensor | None,
        recompute: bool | None,
    ) -> tuple[Tensor, Tensor | None, Tensor] | None:
        """Simulate a batch.

        Args:
            rows: Features, shape (batch, features), contiguous as all that follow.
            factors: Radians of each data phase for each unit of a feature, shape
                (columns * modes, features).
            phases: Of the meshes, shape (columns + 1, cells, 2).
            weight: Of a linear readout, shape (outputs, D), or None without one.
            bias: Of it, shape (outputs,).
            left: Data phases to take instead, shape (columns * modes, batch), whose derivatives are
                the same: large ones without whole turns.
            recompute: As for `probabilities_forward`.

        Returns:
            Outputs (batch, outputs), or without a readout probabilities (batch, D); what they
            summed to (batch,) if unbunched; and the memory. None if some phase is not finite or
            too large.
        """
        size, states = self._itemsize, self._states
        batch, features = rows.shape
        layer = self.layers[batch <= self._most_rows]
        if recompute is None:
            recompute = layer.recomputes(batch)
        tiles = layer.tiles(batch)
        unitaries = layer.unitary_scalars
        data = unitaries + (0 if recompute else tiles * layer.tile_scalars)
        turned = data + self._phases * batch
        probabilities = turned + features * batch
        memory = rows.new_empty(probabilities + (0 if weight is None else states * batch))
        result = rows.new_empty(batch, states if weight is None else weight.shape[0])
        at, result_at = memory.data_ptr(), result.data_ptr()
        data_at, turned_at = at + size * data, at + size * turned
        probabilities_at = result_at if weight is None else at + size * probabilities
        if left is None:
            self._encode(
                rows.data_ptr(), factors.data_ptr(), turned_at, data_at, batch, features,
                self._phases,
            )  # fmt: skip
        else:
            memory[data:turned] = left.flatten()
        addresses = [
            phases.data_ptr(), data_at, probabilities_at, turned_at, at, at + size * unitaries,
        ]  # fmt: skip
        if not layer.forward(addresses, batch, tiles, not recompute, True):
            return None
        if weight is not None and bias is not None:
            self._read(
                probabilities_at, weight.data_ptr(), bias.data_ptr(), result_at, batch, states,
                weight.shape[0],
            )  # fmt: skip
        kept = memory[turned : turned + batch] if self._unbunched else None
        return result, kept, memory

    def data_phases(self, rows: Tensor, weight: Tensor | None, memory: Tensor) -> Tensor:
        """Return those of a forward pass, shape (columns, modes, batch), in the memory it left."""
        data, turned, _ = self._places(rows, weight, memory)
        layer = self.layers[0]
        return memory[data:turned].view(layer.depth, layer.plan.modes, len(rows))

    def _places(self, rows: Tensor, weight: Tensor | None, memory: Tensor) -> tuple[int, int, int]:
        """Where data phases, turned features and probabilities begin."""
        batch, features = rows.shape
        end = memory.shape[0] - (0 if weight is None else self._states * batch)
        turned = end - features * batch
        return turned - self._phases * batch, turned, end

    def backward(
        self,
        grad: Tensor,
        rows: Tensor,
        factors: Tensor,
        phases: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        memory: Tensor,
        wanted: tuple[bool, ...],
    ) -> tuple[Tensor | None, ...]:
        """Return the gradients.

        Args:
            grad: Of the result, any strides.
            rows: As for `forward`, and so are the next ones.
            factors: As there.
            phases: As there.
            weight: As there.
            bias: As there.
            memory: What `forward` left.
            wanted: Whether those of rows, of factors and of phases are wanted, which else may be
                None.

        Returns:
            Those of rows, factors, phases, weight and bias, in their shapes.
        """
        size, states, count = self._itemsize, self._states, self._phases
        batch, features = rows.shape
        layer = self.layers[batch <= self._most_rows]
        unitaries = layer.unitary_scalars
        data, turned, end = self._places(rows, weight, memory)
        at = memory.data_ptr()
        along_batch, along_states = grad.stride()
        grad_at = grad.data_ptr()
        grad_weight = grad_bias = grad_rows = grad_factors = None
        scratch = rows.new_empty((0 if weight is None else states * batch) + count * batch)
        grad_data_at = scratch.data_ptr()
        if weight is not None:
            outputs = weight.shape[0]
            grad_weight, grad_bias = weight.new_empty(outputs, states), weight.new_empty(outputs)
            grad_probabilities_at = grad_data_at + size * count * batch
            self._read_backward(
                grad_at, along_batch, along_states, at + size * end, weight.data_ptr(),
                grad_probabilities_at, grad_weight.data_ptr(), grad_bias.data_ptr(), batch, states,
                outputs,
            )  # fmt: skip
            grad_at, along_batch, along_states = grad_probabilities_at, states, 1
        if not any(wanted[:3]):
            return None, None, None, grad_weight, grad_bias
        grad_phases = phases.new_empty(phases.shape)
        addresses = [
            at + size * data, grad_at, at + size * turned, 0, at, at + size * unitaries,
            grad_phases.data_ptr(), grad_data_at,
        ]  # fmt: skip
        strides = along_batch, along_states
        layer.backward(addresses, strides, batch, data > unitaries, None)
        if wanted[0]:
            grad_rows = rows.new_empty(batch, features)
            self._combine(
                grad_data_at, 1, batch, factors.data_ptr(), grad_rows.data_ptr(), batch, count,
                features,
            )  # fmt: skip
        if wanted[1]:
            grad_factors = factors.new_empty(count, features)
            self._combine(
                grad_data_at, batch, 1, rows.data_ptr(), grad_factors.data_ptr(), count, batch,
                features,
            )  # fmt: skip
        return grad_rows, grad_factors, grad_phases, grad_weight, grad_bias


def step_of(
    columns: int, modes: int, occupied: tuple[int, ...], unbunched: bool, itemsize: int
) -> Step:
    """Return the step of a circuit of so many columns of data phases."""
    plan = plan_for(modes, occupied, unbunched)
    layers = layer_of(plan, columns, itemsize), layer_of(plan, columns, itemsize, True)
    return Step(layers)
