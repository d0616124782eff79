"""What several callbacks measure with: step sizes, copies of a model, learning rates, boards."""
