"""Circuits and experiments to and from other libraries, exactly."""

from hybridlit.interop.perceval import from_perceval, to_perceval

__all__ = ["from_perceval", "to_perceval"]
