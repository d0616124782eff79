"""Normalizations: into the [0, 1] that a photonic encoding expects, and of batches of any size."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from hybridlit.checks import choice, integer, tensor
from hybridlit.photonics.finite import infinity_as_nan, require_finite
from hybridlit.ranks import summed, world_size

__all__ = [
    "NORMALIZATIONS",
    "NormalizationLayer",
    "NormalizationName",
    "RowSafeBatchNorm1d",
    "projected",
]


def _standard(layer: NormalizationLayer, x: Tensor) -> Tensor:
    if not layer.fitted:
        raise RuntimeError(
            f"NormalizationLayer(method={layer.method!r}) has seen no training data: call .fit(x) "
            "with the training inputs of this layer, or train the model with a Trainer first, or "
            "load a checkpoint"
        )
    std = torch.where(layer.std > 0, layer.std, 1.0)
    return (x - layer.mean) / (6 * std) + 0.5


def _minmax(layer: NormalizationLayer, x: Tensor) -> Tensor:
    x = x / 2  # exact, and twice the largest number would be infinite
    low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
    span = high - low
    precision = torch.finfo(x.dtype)
    rounding = precision.eps * torch.maximum(low.abs(), high.abs()) + precision.tiny / 2
    # a row with NaN or infinity is not constant: it must come out as NaN, not as 0.5
    constant = (span <= rounding) & torch.isfinite(span)
    # the inner where keeps the unused branch finite, so that its zero gradient is not 0 * inf
    return torch.where(constant, 0.5, (x - low) / torch.where(constant, 1.0, span))


class Normalization(NamedTuple):
    """A way of `NormalizationLayer` to map features to [0, 1].

    Attributes:
        map: The map of features of shape (..., features), with the layer.
        has_statistics: Whether it needs the mean and deviation of training data.
        fewest: Smallest number of features.
        why: What is wrong with fewer.
    """

    map: Callable[[NormalizationLayer, Tensor], Tensor]
    has_statistics: bool = False
    fewest: int = 1
    why: str = ""


NORMALIZATIONS: dict[str, Normalization] = {
    "sigmoid": Normalization(lambda layer, x: torch.sigmoid(x)),
    "tanh": Normalization(lambda layer, x: (torch.tanh(x) + 1) / 2),
    "minmax": Normalization(
        _minmax,
        fewest=3,
        why="normalization by method='minmax' is of each row over its features and needs at least "
        "3: one alone has no range, of two only their order is left; use 'sigmoid', 'tanh' or "
        "'standard'",
    ),
    "standard": Normalization(_standard, has_statistics=True),
}
"""Normalizations by name."""

if TYPE_CHECKING:
    NormalizationName: TypeAlias = str
else:
    NormalizationName = Literal[tuple(NORMALIZATIONS)]


class NormalizationLayer(nn.Module):
    """Map features to [0, 1], the range that a photonic encoding turns into phases of 0 to pi.

    Methods:
        - `"sigmoid"`: `1 / (1 + exp(-x))`.
        - `"tanh"`: `(tanh(x) + 1) / 2`.
        - `"minmax"`: each row from its own minimum (0) to its own maximum (1). It discards the
          offset and scale of the row; a constant row becomes 0.5 with zero gradient. At least 3
          features: two would come out as (0, 1) or (1, 0), whatever they are.
        - `"standard"`: each feature from mean - 3 std (0) to mean + 3 std (1) of the training data,
          linearly. Values further out leave [0, 1]: they are legal phases, and a clamp would stop
          their gradient. A feature that is constant in the training data maps to 0.5 there, with
          slope 1/6. The statistics are buffers, set by `fit` or `partial_fit`; a template's
          `Trainer` run fits a layer that has seen no data yet.

    Args:
        method: One of `"sigmoid"`, `"tanh"`, `"minmax"`, `"standard"`.
        num_features: Size of the last dimension, at least 1 (`"minmax"`: 3). Needed for
            `"standard"`, otherwise optional and then only checked.

    Example:
        >>> layer = NormalizationLayer("standard", num_features=1)
        >>> layer.fit(torch.tensor([[1.0], [3.0]]))(torch.tensor([[2.0], [5.0]])).flatten()
        tensor([0.5000, 1.0000])
    """

    count: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self, method: NormalizationName = "sigmoid", num_features: int | None = None
    ) -> None:
        super().__init__()
        choice(method, "method", NORMALIZATIONS)
        self.method = method
        if num_features is not None:
            num_features = integer(num_features, "num_features", 1)
            if num_features < self._rule.fewest:
                raise ValueError(self._rule.why)
        self.num_features = num_features
        # a Python flag: reading `count` would sync a GPU
        self._fitted = not self._rule.has_statistics
        if self._rule.has_statistics:
            if num_features is None:
                raise ValueError(f"method={method!r} stores statistics: give num_features")
            self.register_buffer("count", torch.zeros((), dtype=torch.int64))
            self.register_buffer("mean", torch.zeros(num_features))
            self.register_buffer("std", torch.zeros(num_features))
            self.register_load_state_dict_post_hook(_refresh_fitted)  # type: ignore[no-untyped-call]

    @property
    def _rule(self) -> Normalization:
        return NORMALIZATIONS[self.method]

    @property
    def fitted(self) -> bool:
        """Whether the layer can be used: False only for `"standard"` before it has seen data."""
        return self._fitted

    def forward(self, x: Tensor) -> Tensor:
        """Normalize features of shape (..., features).

        On the CPU values must be finite: others could look like any other afterwards. `"standard"`
        is a `RuntimeError` as long as it has seen no training data.
        """
        self._check_width(x)
        require_finite(x, "x")
        return self._rule.map(self, infinity_as_nan(x))

    def fit(self, x: Tensor) -> NormalizationLayer:
        """Set the statistics of `"standard"` from training data, forgetting earlier ones.

        Args:
            x: Training inputs of this layer, of shape (..., features), finite, at least one row.

        Returns:
            The layer itself.
        """
        rows = self._rows(x)
        self.reset()
        return self.partial_fit(rows)

    def partial_fit(self, x: Tensor) -> NormalizationLayer:
        """Add a batch of training data to the statistics of `"standard"`.

        Batches of any sizes give the same statistics as `fit` on all of them at once, up to
        rounding; arguments, result and errors are those of `fit`.
        """
        rows = self._rows(x)
        std, mean = torch.std_mean(rows, dim=0, correction=0)
        return self.merge(len(rows), mean, std)

    def merge(self, count: int, mean: Tensor, std: Tensor) -> NormalizationLayer:
        """Add the statistics of `count` other rows, for instance those of another process.

        Mean and standard deviation (divided by count) have shape (features,).
        """
        self._check_fittable()
        # on the CPU because not every accelerator has float64
        mean, std = mean.to("cpu", torch.float64), std.to("cpu", torch.float64)
        old_count = int(self.count)
        if old_count:
            old_mean = self.mean.to("cpu", torch.float64)
            old_std = self.std.to("cpu", torch.float64)
            share = count / (old_count + count)
            step = share * (mean - old_mean)
            between = (1 - share) * share * (mean - old_mean) ** 2
            std = ((1 - share) * old_std**2 + share * std**2 + between).sqrt()
            mean = old_mean + step
        # a deviation within the rounding error of the mean is no deviation
        std = torch.where(std > 1e-7 * mean.abs(), std, 0.0)
        self.count.fill_(old_count + count)
        self.mean.copy_(mean)
        self.std.copy_(std)
        self._fitted = True
        return self

    def reset(self) -> None:
        """Forget the statistics of `"standard"`."""
        self._check_fittable()
        self.count.zero_()
        self.mean.zero_()
        self.std.zero_()
        self._fitted = False

    def extra_repr(self) -> str:
        """Describe the layer in one line."""
        features = "" if self.num_features is None else f", num_features={self.num_features}"
        return f"method={self.method!r}{features}"

    def _check_width(self, x: Tensor) -> None:
        tensor(x, "x")
        if x.dim() < 1 or (self.num_features is not None and x.shape[-1] != self.num_features):
            raise ValueError(
                f"x must have shape (..., {self.num_features or 'features'}), got {tuple(x.shape)}"
            )
        if x.shape[-1] < self._rule.fewest:
            raise ValueError(self._rule.why)

    def _check_fittable(self) -> None:
        if not self._rule.has_statistics:
            have = [name for name, rule in NORMALIZATIONS.items() if rule.has_statistics]
            raise TypeError(
                f"NormalizationLayer(method={self.method!r}) has no statistics to fit; only "
                f"method={' or '.join(map(repr, have))} has"
            )

    def _rows(self, x: Tensor) -> Tensor:
        """Check training data and return it as (rows, features) in float64."""
        self._check_fittable()
        self._check_width(x)
        rows = x.detach().to("cpu", torch.float64).reshape(-1, x.shape[-1])
        if len(rows) == 0:
            raise ValueError(f"x must have at least one row, got shape {tuple(x.shape)}")
        if not torch.isfinite(rows).all():
            raise ValueError("x must be finite, got NaN or infinity: clean the training data")
        return rows


def _refresh_fitted(layer: nn.Module, incompatible_keys: object) -> None:
    """Follow a loaded state dict; runs after every `load_state_dict`."""
    if isinstance(layer, NormalizationLayer):
        layer._fitted = bool(layer.count > 0)


def projected(
    features: int, width: int | None, method: str
) -> tuple[nn.Module, NormalizationLayer]:
    """Build what stands before a photonic layer: a learned projection, and a map into [0, 1].

    The two are parts of their own in a template, `projection` and `normalization`: analyses name
    them so, and checkpoints too. With `width=None` all features are encoded as they are.
    """
    if width is None:
        return nn.Identity(), NormalizationLayer(method, num_features=features)
    return nn.Linear(features, width), NormalizationLayer(method, num_features=width)


class RowSafeBatchNorm1d(nn.BatchNorm1d):
    """`nn.BatchNorm1d` that falls back to its running statistics for a single training row.

    One row has no variance, and `nn.BatchNorm1d` raises on it: the last batch of an epoch is enough
    to end a run. Here such a batch is normalized as in evaluation, and the running statistics stay
    as they are. Every other batch is treated exactly as by `nn.BatchNorm1d`, whose arguments and
    state dict this class shares.

    In several processes the statistics of a training batch are those over the rows of all of them,
    on any device, as `nn.SyncBatchNorm` has them on GPUs: each must run the layer then.

    Example:
        >>> import torch
        >>> RowSafeBatchNorm1d(3)(torch.ones(1, 3)).shape
        torch.Size([1, 3])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalize each feature of shape (batch, features) or (batch, features, length)."""
        tensor(input, "input")
        if self.training and world_size() > 1 and input.dim() in (2, 3):
            return self._with_those_of_others(input)
        values_per_feature = input.numel() // max(input.shape[1], 1) if input.dim() > 1 else 0
        if not (self.training and values_per_feature == 1 and self.running_mean is not None):
            return super().forward(input)
        return self._as_in_evaluation(input)

    def _as_in_evaluation(self, input: Tensor) -> Tensor:
        return functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )

    def _with_those_of_others(self, input: Tensor) -> Tensor:
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        dims = [dim for dim in range(x.dim()) if dim != 1]
        own = x.new_full((1,), x.numel() / max(x.shape[1], 1))
        sums = summed(torch.cat([x.sum(dims), own]))
        count = sums[-1].detach()
        if count < 2:
            if self.running_mean is None:
                raise ValueError("Expected more than 1 value per channel when training")
            return self._as_in_evaluation(input)
        shape = [1, -1, *[1] * (x.dim() - 2)]
        mean = sums[:-1] / count
        centred = x - mean.reshape(shape)
        variance = summed(centred.square().sum(dims)) / count
        if self.running_mean is not None and self.running_var is not None:
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            share = self.momentum
            if share is None:  # the mean of all batches
                share = 1 / float(self.num_batches_tracked)
            unbiased = variance.detach() * count / (count - 1)
            self.running_mean.lerp_(mean.detach().to(self.running_mean.dtype), share)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)
        found = centred * (variance + self.eps).rsqrt().reshape(shape)
        if self.weight is not None:
            found = found * self.weight.reshape(shape) + self.bias.reshape(shape)
        return found.to(input.dtype)
