"""How a template is trained: optimizers, rates over a run, stages, and what a resume changes."""
