"""What the texts of models see: numbers by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dist_sim.errors import UnknownAttributeError


class Values:
    """Numbers by name: `y.V_m`, `p.tau_m`, `x.spikes_ex`."""

    def __init__(self, what: str, values: Mapping[str, Any]):
        vars(self).update(values)
        self._what = what

    def __getattr__(self, name: str) -> Any:
        raise UnknownAttributeError(self._what, name, [n for n in vars(self) if n != "_what"])
