"""The twin of a chip: a model of its heaters and light, fitted to what is measured."""
