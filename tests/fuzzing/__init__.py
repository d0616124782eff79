"""Random configurations, plausible ones, edges and wrong ones, and what must hold of each."""
