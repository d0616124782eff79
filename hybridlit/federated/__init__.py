"""Several clients train one model together, and keep their rows: on Flower."""

from hybridlit.federated.server import Federation
from hybridlit.federated.settings import FederatedSettings
from hybridlit.federated.simulation import run_federation

__all__ = ["FederatedSettings", "Federation", "run_federation"]
