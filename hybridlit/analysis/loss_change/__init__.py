"""Which part of a model changed the losses, and which one is to blame for overfitting."""
