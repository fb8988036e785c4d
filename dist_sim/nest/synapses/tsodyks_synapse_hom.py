from __future__ import annotations

from typing import final

import brainunit as units

from dist_sim.nest.synapses.declared import Parameter, Variable
from dist_sim.nest.synapses.synapse import Synapse
from dist_sim.nest.synapses.tsodyks_synapse import tsodyks_synapse


@final
class tsodyks_synapse_hom(Synapse):
    """`tsodyks_synapse` with parameters that are the same for all synapses of a connection, and one weight.

    Names and defaults are NEST's. Checked against NEST 3.10.
    """

    tau_psc = Parameter(units.ms, 3.0, above=0.0, decays=True)
    tau_fac = Parameter(units.ms, 0.0, at_least=0.0, decays=True)
    tau_rec = Parameter(units.ms, 800.0, above=0.0, decays=True)
    U = Parameter(units.UNITLESS, 0.5, at_least=0.0, at_most=1.0)

    x = Variable(1.0, at_least=0.0, at_most=1.0)
    y = Variable(0.0, at_least=0.0, at_most=1.0)
    u = Variable(0.0, at_least=0.0, at_most=1.0)

    common_weight = True

    @classmethod
    def check(cls, p):
        tsodyks_synapse.check(p)

    on_pre = tsodyks_synapse.on_pre
