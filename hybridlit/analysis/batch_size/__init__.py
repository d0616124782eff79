"""The memory of a training step before it is taken, and the batch that fits."""

from hybridlit.analysis.batch_size.search import BatchSize, find_batch_size, predict_memory

__all__ = ["BatchSize", "find_batch_size", "predict_memory"]
