from __future__ import annotations

from typing import final

from dist_sim.nest.synapses.synapse import Synapse


@final
class static_synapse_hom_w(Synapse):
    """Synapses of one weight that never changes. Names and defaults are NEST's."""

    common_weight = True
