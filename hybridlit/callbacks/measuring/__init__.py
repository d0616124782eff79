"""What several callbacks measure and log with: step sizes, copies of a model, learning rates."""
