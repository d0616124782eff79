"""The loops that cost time, one file a kernel."""
