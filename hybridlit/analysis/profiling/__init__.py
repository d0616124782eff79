"""Time and memory of the parts of a network in real training steps."""

from hybridlit.analysis.profiling.component_profile import ComponentProfile
from hybridlit.analysis.profiling.profile import profile_components

__all__ = ["ComponentProfile", "profile_components"]
