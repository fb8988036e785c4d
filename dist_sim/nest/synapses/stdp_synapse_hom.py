from __future__ import annotations

from typing import final

import brainunit as u

from dist_sim.nest.synapses.declared import WEIGHT, Parameter, Trace, Variable
from dist_sim.nest.synapses.stdp_synapse import stdp_synapse
from dist_sim.nest.synapses.synapse import Synapse


@final
class stdp_synapse_hom(Synapse):
    """`stdp_synapse` with parameters that are the same for all synapses of a connection, as they are in all models here.

    Names and defaults are NEST's. Checked against NEST 3.10.
    """

    tau_plus = Parameter(u.ms, 20.0, above=0.0, decays=True)
    lambda_ = Parameter(u.UNITLESS, 0.01)
    alpha = Parameter(u.UNITLESS, 1.0)
    mu_plus = Parameter(u.UNITLESS, 1.0, at_least=0.0)
    mu_minus = Parameter(u.UNITLESS, 1.0, at_least=0.0)
    Wmax = Parameter(WEIGHT, 100.0)

    Kplus = Variable(0.0, at_least=0.0)
    K_minus = Trace("tau_minus")

    on_post = stdp_synapse.on_post
    on_pre = stdp_synapse.on_pre
