"""Real features as the amplitudes of the state that enters a circuit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hybridlit.argument_types import checked
from hybridlit.checks import integer
from hybridlit.photonics.base import PhotonicCircuit
from hybridlit.photonics.finite import require_finite
from hybridlit.photonics.pure_light import require_given_state

__all__ = ["AmplitudeEncoding"]


class AmplitudeEncoding(nn.Module):
    r"""Features -> a normalised state -> a layer, which may have features of its own as well.

    The first features are the amplitudes of the first states of `layer.input_space`, divided by
    their norm; the other states have amplitude 0. So C(m + n - 1, n) features fit into n photons
    in m modes, or C(m, n) if unbunched. Neither the length of a row nor its sign as a whole is
    seen. A row of zeros, which has no direction, is the first state, with gradient 0.

    Args:
        features: Number of features in amplitudes, at least 1, at most `layer.input_space.size`.
        layer: A `QuantumLayer` or a `QuantumLayerStack`. If it has features itself, they come
            behind those in amplitudes.

    Attributes:
        input_size: `features` and those of the layer.
        output_size: Number of outputs of the layer.

    Raises:
        TypeError: If an argument has the wrong type, or the photons of the layer do not interfere.
        ValueError: If there are too many features, if a noisy source makes the layer's photons, or
            if its gradient is that of the shift rule.

    Example:
        >>> from hybridlit import Circuit, Interferometer, QuantumLayer
        >>> circuit = Circuit(6).add(Interferometer())
        >>> layer = QuantumLayer(0, 3, circuit=circuit, n_photons=2)
        >>> encoded = AmplitudeEncoding(16, layer)
        >>> encoded(torch.rand(8, 16)).shape
        torch.Size([8, 3])
    """

    @checked
    def __init__(self, features: int, layer: PhotonicCircuit) -> None:
        super().__init__()
        require_given_state(layer, "layer")
        space = layer.input_space
        self.features = integer(features, "features", 1)
        if self.features > space.size:
            raise ValueError(
                f"features must be at most {space.size}, the states of {space.photons} photon(s) "
                f"in {space.modes} modes, got {self.features}: use more modes or photons, or "
                "reduce the features before"
            )
        self.layer = layer
        self.input_size = self.features + layer.input_size
        self.output_size = layer.output_size

    def extra_repr(self) -> str:
        """Return the sizes for `repr`."""
        return f"features={self.features}, output_size={self.output_size}"

    def state(self, x: Tensor) -> Tensor:
        """Return the state of features.

        Args:
            x: Features in amplitudes, shape (..., features), real floating.

        Returns:
            Real amplitudes of norm 1, shape (..., layer.input_space.size), in at least float32.
        """
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        # Squares of numbers below 1 neither overflow nor vanish.
        largest = x.detach().abs().amax(-1, keepdim=True)
        empty = largest == 0
        scaled = x / largest.masked_fill(empty, 1)
        first = torch.arange(self.features, device=x.device) == 0
        scaled = torch.where(empty, first.to(x.dtype), scaled)
        state = scaled / scaled.norm(dim=-1, keepdim=True)
        return nn.functional.pad(state, (0, self.layer.input_space.size - self.features))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of the layer.

        Args:
            x: Features, shape (..., input_size), real floating.

        Returns:
            Shape (..., output_size); of a stack (..., count, output_size).

        Raises:
            TypeError: If `x` is no floating tensor, or float64 in a float32 layer.
            ValueError: If its width is wrong or, on the CPU, if a feature is not finite.
        """
        if not isinstance(x, Tensor) or not x.is_floating_point():
            got = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"x must be a real floating tensor, got {got}; use x.float()")
        if not x.dim() or x.shape[-1] != self.input_size:
            raise ValueError(
                f"x must have shape (..., input_size={self.input_size}), got {tuple(x.shape)}"
            )
        require_finite(x, "x")
        in_amplitudes, others = x[..., : self.features], x[..., self.features :]
        outputs: Tensor = self.layer(others, state=self.state(in_amplitudes))
        return outputs
