"""Circuits and experiments to and from other libraries, exactly; models on their processors."""

from hybridlit.interop.perceval import from_perceval, to_perceval
from hybridlit.interop.processors import HardwareLayer

__all__ = ["HardwareLayer", "from_perceval", "to_perceval"]
