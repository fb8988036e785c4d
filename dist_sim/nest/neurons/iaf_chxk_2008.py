from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp

from dist_sim.nest.declared import Parameter, Receptor, State, recordable
from dist_sim.nest.laws import Adaptive
from dist_sim.nest.neurons.conductance import jump
from dist_sim.nest.neurons.neuron import NESTNeuron


@final
class iaf_chxk_2008(NESTNeuron):
    r"""Neuron of the lateral geniculate nucleus: alpha-shaped conductances, and an afterhyperpolarisation instead of a reset.

    .. math:: C_m \dot V = -g_L (V - E_L) - \sum_x g_x (V - E_x) + I, \quad
        g_x(t) = \sum_k w_k \frac{e}{\tau_x} (t - t_k) e^{-(t - t_k)/\tau_x}, \quad x = ex, in, ahp

    A spike where V comes to V_th from below; its time within the step, by linear interpolation, starts an afterhyperpolarisation
    with the peak g_ahp, which with `ahp_bug` replaces those before instead of being added. Weights [nS] are the peaks of
    conductances; positive ones act on g_ex, the sizes of negative ones on g_in.

    Source: Casti et al. (2008), doi:10.1007/s10827-007-0053-7. Checked against NEST 3.10 spike for spike; NEST's recorders show
    the interpolated time of a spike, ours the end of its step, at which it is sent in both.
    """

    V_th = Parameter(u.mV, -45.0)
    g_L = Parameter(u.nS, 100.0, above=0.0)
    C_m = Parameter(u.pF, 1000.0, above=0.0)
    E_ex = Parameter(u.mV, 20.0)
    E_in = Parameter(u.mV, -90.0)
    E_L = Parameter(u.mV, -60.0)
    E_ahp = Parameter(u.mV, -95.0)
    tau_syn_ex = Parameter(u.ms, 1.0, above=0.0)
    tau_syn_in = Parameter(u.ms, 1.0, above=0.0)
    tau_ahp = Parameter(u.ms, 0.5, above=0.0)
    g_ahp = Parameter(u.nS, 443.8)
    I_e = Parameter(u.pA, 0.0)
    ahp_bug = Parameter(u.UNITLESS, False)

    V_m = State(u.mV, -60.0)
    g_ex = State(u.nS, settable=False)
    dg_ex = State(u.nS / u.ms, settable=False)
    g_in = State(u.nS, settable=False)
    dg_in = State(u.nS / u.ms, settable=False)
    ahp = State(u.nS, settable=False)
    d_ahp = State(u.nS / u.ms, settable=False)

    spikes_ex = Receptor(u.nS, sign=+1)
    spikes_in = Receptor(u.nS, sign=-1)
    records = ("V_m", "g_ex", "g_in", "g_ahp", "I_syn_ex", "I_syn_in", "I_ahp")
    law = Adaptive(tolerance=1e-3)

    @recordable(u.nS, name="g_ahp")  # a parameter has the name too
    def g_ahp_now(y, p):
        return y.ahp

    @recordable(u.pA)
    def I_syn_ex(y, p):
        return y.g_ex * (y.V_m - p.E_ex)

    @recordable(u.pA)
    def I_syn_in(y, p):
        return y.g_in * (y.V_m - p.E_in)

    @recordable(u.pA)
    def I_ahp(y, p):
        return y.ahp * (y.V_m - p.E_ahp)

    @staticmethod
    def propagators(p, dt):
        return {
            "per_C": 1 / p.C_m,
            "rate_ex": 1 / p.tau_syn_ex,
            "rate_in": 1 / p.tau_syn_in,
            "rate_ahp": 1 / p.tau_ahp,
            "jump_ex": jump(p.tau_syn_ex, p.tau_syn_ex),
            "jump_in": jump(p.tau_syn_in, p.tau_syn_in),
            "jump_ahp": p.g_ahp * jump(p.tau_ahp, p.tau_ahp),
        }

    @staticmethod
    def derivatives(y, p, x):
        V = y.V_m
        currents = y.g_ex * (V - p.E_ex) + y.g_in * (V - p.E_in) + y.ahp * (V - p.E_ahp)
        return {
            "V_m": (-(p.g_L * (V - p.E_L)) - currents + x.current + p.I_e) * p.per_C,
            "dg_ex": -y.dg_ex * p.rate_ex,
            "g_ex": y.dg_ex - y.g_ex * p.rate_ex,
            "dg_in": -y.dg_in * p.rate_in,
            "g_in": y.dg_in - y.g_in * p.rate_in,
            "d_ahp": -y.d_ahp * p.rate_ahp,
            "ahp": y.d_ahp - y.ahp * p.rate_ahp,
        }

    @staticmethod
    def step(y, p, x):
        before = x.before.V_m
        spike = (before < p.V_th) & (y.V_m >= p.V_th) & (y.V_m < jnp.inf)
        since = jnp.where(
            spike, (y.V_m - p.V_th) * p.dt / jnp.where(spike, y.V_m - before, 1.0), 0.0
        )  # ms from spike to step's end
        d_ahp = p.jump_ahp * jnp.exp(-since * p.rate_ahp)
        ahp = d_ahp * since
        return {
            "dg_ex": y.dg_ex + x.spikes_ex * p.jump_ex,
            "dg_in": y.dg_in - x.spikes_in * p.jump_in,
            "d_ahp": jnp.where(spike, jnp.where(p.ahp_bug, d_ahp, y.d_ahp + d_ahp), y.d_ahp),
            "ahp": jnp.where(spike, jnp.where(p.ahp_bug, ahp, y.ahp + ahp), y.ahp),
        }, spike
