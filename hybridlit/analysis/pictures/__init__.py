"""What a circuit looks like, and what the light in it does."""

from hybridlit.analysis.pictures.circuit_text import describe_circuit, summarize_circuit
from hybridlit.analysis.pictures.drawing import draw_circuit

__all__ = ["describe_circuit", "draw_circuit", "summarize_circuit"]
