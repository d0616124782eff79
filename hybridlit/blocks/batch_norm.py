"""Batch normalization that a training batch of one row cannot stop."""

from torch import Tensor, nn
from torch.nn import functional

from hybridlit.checks import tensor

__all__ = ["RowSafeBatchNorm1d"]


class RowSafeBatchNorm1d(nn.BatchNorm1d):
    """`nn.BatchNorm1d` that falls back to its running statistics for a single training row.

    One row has no variance, and `nn.BatchNorm1d` raises on it: the last batch of an epoch is enough
    to end a run. Here such a batch is normalized as in evaluation, and the running statistics stay
    as they are. Every other batch is treated exactly as by `nn.BatchNorm1d`, whose arguments and
    state dict this class shares.

    Example:
        >>> import torch
        >>> RowSafeBatchNorm1d(3)(torch.ones(1, 3)).shape
        torch.Size([1, 3])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalize each feature over the batch.

        Args:
            input: Features of shape (batch, features) or (batch, features, length).

        Returns:
            The normalized features, of the same shape.
        """
        tensor(input, "input")
        values_per_feature = input.numel() // max(input.shape[1], 1) if input.dim() > 1 else 0
        if not (self.training and values_per_feature == 1 and self.running_mean is not None):
            return super().forward(input)
        return functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )
