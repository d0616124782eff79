"""What checkpoints are made of: durable files, and the state of a run that Lightning leaves out."""
