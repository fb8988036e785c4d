from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp
import numpy as np

from dist_sim.nest.declared import Parameter, Receptor, State
from dist_sim.nest.laws import Discrete
from dist_sim.nest.neurons.neuron import NESTNeuron, crossed


@final
class izhikevich(NESTNeuron):
    r"""Quadratic neuron with a recovery variable, after Izhikevich.

    .. math:: \dot V = 0.04 V^2 + 5 V + 140 - U + I, \qquad \dot U = a (b V - U)

    A spike where V >= V_th at the end of a step; then V = c, and U grows by d. With `consistent_integration` a step is one of
    Euler's, and V jumps by the weights [mV] that arrive; without, it is the published one: two half steps of V, then one of U at
    the new V, and weights are currents of the length of a step. Both depend on dt by design.

    Source: Izhikevich (2003), doi:10.1109/TNN.2003.820440; Pauli et al. (2018), doi:10.3389/fninf.2018.00046. Checked against
    NEST 3.10 spike for spike.
    """

    a = Parameter(u.UNITLESS, 0.02)
    b = Parameter(u.UNITLESS, 0.2)
    c = Parameter(u.mV, -65.0)
    d = Parameter(u.mV, 8.0)
    V_th = Parameter(u.mV, 30.0)
    V_min = Parameter(u.mV, -np.inf)
    I_e = Parameter(u.pA, 0.0)
    consistent_integration = Parameter(u.UNITLESS, True)

    V_m = State(u.mV, -65.0)
    U_m = State(u.mV, -13.0)

    spikes = Receptor(u.mV)
    features = {"published": lambda p: p["consistent_integration"] == 0}
    law = Discrete()

    @classmethod
    def check(cls, p):
        cls.refuse_where(p["c"] >= p["V_th"], p, "c", "V_th", "must be below", "The neuron would spike at every step.")

    @staticmethod
    def propagators(p, dt):
        return {"half": np.full_like(p.a, 0.5 * dt)}

    @staticmethod
    def step(y, p, x):
        V = y.V_m + p.dt * (0.04 * y.V_m * y.V_m + 5.0 * y.V_m + 140.0 - y.U_m + x.current + p.I_e) + x.spikes
        U = y.U_m + p.dt * p.a * (p.b * y.V_m - y.U_m)
        if "published" in x.features:
            W = y.V_m
            for _ in range(2):
                W = W + p.half * (0.04 * W * W + 5.0 * W + 140.0 - y.U_m + x.current + p.I_e + x.spikes)
            V = jnp.where(p.consistent_integration, V, W)
            U = jnp.where(p.consistent_integration, U, y.U_m + p.dt * p.a * (p.b * W - y.U_m))
        V = jnp.maximum(V, p.V_min)
        spike = crossed(V, p.V_th)
        return {"V_m": jnp.where(spike, p.c, V), "U_m": jnp.where(spike, U + p.d, U)}, spike
