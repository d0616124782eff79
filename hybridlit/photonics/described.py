"""State dicts that say of which circuit they are, beside their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hybridlit.internals.torch import metadata
from hybridlit.photonics.description import differences
from hybridlit.photonics.given import GivenInterferometers

__all__ = ["DescribedCircuit"]


class DescribedCircuit(GivenInterferometers):
    """Circuits whose state dicts are refused by others."""

    _description: Mapping[str, str]

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        modules = metadata(destination)  # a plain dict of the caller has none
        if modules is not None:
            modules[prefix[:-1]]["circuit"] = dict(self._description)

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        *others: Any,
    ) -> None:
        found = differences(local_metadata.get("circuit"), self._description)
        if found:
            raise ValueError(
                f"the state dict is that of another circuit than {prefix[:-1] or 'this layer'}: "
                f"{found}; build the layer as it was saved, or load dict(state_dict), which says "
                "nothing of the circuit, to take the numbers over all the same"
            )
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *others)
