"""What checkpoints take: durable files, Ctrl-C that waits, the state that Lightning leaves out."""
