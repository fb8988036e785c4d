from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp
import numpy as np

from dist_sim.nest.declared import Counter, Parameter, Receptor, State
from dist_sim.nest.laws import Linear
from dist_sim.nest.neurons.linear import constant_to_membrane, exponential_to_membrane
from dist_sim.nest.neurons.neuron import NESTNeuron, crossed


@final
class iaf_psc_exp_htum(NESTNeuron):
    r"""`iaf_psc_exp` whose potential is held for a shorter time after a spike than the next spike is put off.

    .. math:: \dot V = -(V - E_L)/\tau_m + (I_{ex} + I_{in} + I_e)/C_m, \quad
        \dot I_x = -I_x/\tau_{syn,x} + \sum_k w_k \delta(t - t_k)

    A spike where V >= V_th at the end of a step; then V = V_reset for t_ref_abs, and no spike for t_ref_tot. Weights are in pA;
    positive ones act on I_syn_ex, negative ones on I_syn_in.

    Source: Tsodyks, Uziel & Markram (2000), doi:10.1523/JNEUROSCI.20-01-j0003.2000; Rotter & Diesmann (1999),
    doi:10.1007/s004220050570. Checked against NEST 3.10 spike for spike.
    """

    E_L = Parameter(u.mV, -70.0)
    C_m = Parameter(u.pF, 250.0, above=0.0)
    tau_m = Parameter(u.ms, 10.0, above=0.0)
    tau_syn_ex = Parameter(u.ms, 2.0, above=0.0)
    tau_syn_in = Parameter(u.ms, 2.0, above=0.0)
    t_ref_abs = Parameter(u.ms, 2.0, above=0.0, steps=True)
    t_ref_tot = Parameter(u.ms, 2.0, above=0.0, steps=True)
    V_th = Parameter(u.mV, -55.0, relative_to="E_L")
    V_reset = Parameter(u.mV, -70.0, relative_to="E_L")
    I_e = Parameter(u.pA, 0.0)

    V_m = State(u.mV, -70.0, relative_to="E_L")
    I_syn_ex = State(u.pA, settable=False)
    I_syn_in = State(u.pA, settable=False)
    held = Counter()
    refractory = Counter()

    spikes_ex = Receptor(u.pA, sign=+1)
    spikes_in = Receptor(u.pA, sign=-1)
    same_dynamics = (("tau_syn_ex", "tau_syn_in"),)
    law = Linear()

    @classmethod
    def check(cls, p):
        super().check(p)
        cls.refuse_where(
            p["t_ref_tot"] < p["t_ref_abs"],
            p,
            "t_ref_tot",
            "t_ref_abs",
            "must be at least",
            "A potential that is held cannot spike.",
        )

    @staticmethod
    def propagators(p, dt):
        return {
            "P22": np.expm1(-dt / p.tau_m),
            "P20": constant_to_membrane(p.tau_m, p.C_m, dt),
            "P21_ex": exponential_to_membrane(p.tau_syn_ex, p.tau_m, p.C_m, dt),
            "P21_in": exponential_to_membrane(p.tau_syn_in, p.tau_m, p.C_m, dt),
            "P11_ex": np.exp(-dt / p.tau_syn_ex),
            "P11_in": np.exp(-dt / p.tau_syn_in),
        }

    @staticmethod
    def step(y, p, x):
        change = y.V_m * p.P22 + (p.I_e + x.current) * p.P20 + y.I_syn_ex * p.P21_ex + y.I_syn_in * p.P21_in
        V = jnp.where(y.held == 0, y.V_m + change, y.V_m)
        spike = (y.refractory == 0) & crossed(V, p.V_th)
        return {
            "V_m": jnp.where(spike, p.V_reset, V),
            "I_syn_ex": y.I_syn_ex * p.P11_ex + x.spikes_ex,
            "I_syn_in": y.I_syn_in * p.P11_in + x.spikes_in,
            "held": jnp.where(spike, p.t_ref_abs, jnp.where(y.held == 0, 0, y.held - 1)),
            "refractory": jnp.where(spike, p.t_ref_tot, jnp.where(y.refractory == 0, 0, y.refractory - 1)),
        }, spike
