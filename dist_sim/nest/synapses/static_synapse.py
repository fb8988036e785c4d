from __future__ import annotations

from typing import final

from dist_sim.nest.synapses.synapse import Synapse


@final
class static_synapse(Synapse):
    """Synapses whose weights never change."""
