from __future__ import annotations

from typing import final

import brainunit as units
import jax.numpy as jnp

from dist_sim.errors import ParameterError
from dist_sim.nest.synapses.declared import Parameter, Variable
from dist_sim.nest.synapses.synapse import Synapse


@final
class quantal_stp_synapse(Synapse):
    r"""Short-term plasticity of n release sites, each of which releases and recovers at random.

    Between spikes each of the n - a depleted sites recovers with probability 1 - exp(-h / tau_rec), and u = U + u (1 - U)
    exp(-h / tau_fac); then each available site releases with probability u. A spike passes on w times the sites that have
    released; where none has, nothing is passed on. The first spike finds the initial values. Random numbers are keyed by the
    seed, the synapse, the step and the spike: the same on any placement.

    Source: Fuhrmann, Segev, Markram & Tsodyks (2002), doi:10.1152/jn.00258.2001; Loebel et al. (2009),
    doi:10.3389/neuro.10.027.2009. Names and defaults are NEST's. Checked against NEST 3.10 by distributions.
    """

    U = Parameter(units.UNITLESS, 0.5, at_least=0.0, at_most=1.0)
    tau_rec = Parameter(units.ms, 800.0, above=0.0, decays=True)
    tau_fac = Parameter(units.ms, 0.0, at_least=0.0, decays=True)
    n = Parameter(units.UNITLESS, 1, at_least=0, at_most=100)

    u = Variable(0.5, at_least=0.0, at_most=1.0)
    a = Variable(1, at_least=0)

    @classmethod
    def check(cls, p):
        if p["a"] > p["n"]:
            raise ParameterError(f"quantal_stp_synapse(a={p['a']:g}): at most n={p['n']:g} sites are available.")

    @classmethod
    def largest(cls, p, largest):
        return largest * max(p["n"], 1)

    @classmethod
    def uniforms(cls, p):
        return 2 * int(p["n"])

    @staticmethod
    def on_pre(s, p, e):
        sites = len(e.uniforms) // 2
        u = jnp.where(e.first, s.u, p.U + s.u * (1.0 - p.U) * e.decay.tau_fac)
        depleted, recovered, released = jnp.where(e.first, 0.0, p.n - s.a), 0.0, 0.0
        for k, uniform in enumerate(e.uniforms[:sites]):
            recovered = recovered + jnp.where((k < depleted) & (uniform < 1.0 - e.decay.tau_rec), 1.0, 0.0)
        available = s.a + recovered
        for k, uniform in enumerate(e.uniforms[sites:]):
            released = released + jnp.where((k < available) & (uniform < u), 1.0, 0.0)
        return {"u": u, "a": available - released}, released * s.weight, released > 0.0
