"""What each component of a trained model costs, and what it contributes: plain functions."""
