from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp
import numpy as np

from dist_sim.errors import ParameterError
from dist_sim.nest.declared import Counter, Parameter, Receptor, State
from dist_sim.nest.neurons.iaf_psc_exp import iaf_psc_exp
from dist_sim.nest.neurons.linear import exp_differences
from dist_sim.nest.neurons.neuron import NESTNeuron
from dist_sim.nest.neurons.tsodyks_release import TsodyksRelease


@final
class iaf_tum_2000(NESTNeuron):
    r"""`iaf_psc_exp` that keeps the short-term plasticity of its outgoing synapses itself.

    .. math:: \dot V = -(V - E_L)/\tau_m + (I_{ex} + I_{in} + I_e)/C_m, \quad
        \dot I_x = -I_x/\tau_{syn,x} + \sum_k w_k \delta(t - t_k)

    .. math:: \dot x = z/\tau_{rec} - u x \delta(t - t_f), \quad \dot y = -y/\tau_{psc} + u x \delta(t - t_f), \quad
        \dot u = -u/\tau_{fac} + U (1 - u) \delta(t - t_f), \quad z = 1 - x - y

    A spike where V >= V_th at the end of a step; then V = V_reset for t_ref; with delta > 0 at random, as in iaf_psc_exp. It
    releases u x, with u as it is after the jump. Weights are in pA; positive ones act on I_syn_ex, negative ones on I_syn_in. At
    receptor 0 a spike brings its weight, at receptor 1 the part of it that its sender has released, by static synapses. Those of
    iaf_tum_2000 take receptor 1, those of others receptor 0.

    Source: Tsodyks, Uziel & Markram (2000), doi:10.1523/JNEUROSCI.20-01-j0003.2000. Checked against NEST 3.10 spike for spike; a
    tau_psc that is tau_rec, where NEST divides by 0, is exact here.
    """

    E_L = Parameter(u.mV, -70.0)
    C_m = Parameter(u.pF, 250.0, above=0.0)
    tau_m = Parameter(u.ms, 10.0, above=0.0)
    tau_syn_ex = Parameter(u.ms, 2.0, above=0.0)
    tau_syn_in = Parameter(u.ms, 2.0, above=0.0)
    t_ref = Parameter(u.ms, 2.0, at_least=0.0, steps=True)
    V_th = Parameter(u.mV, -55.0, relative_to="E_L")
    V_reset = Parameter(u.mV, -70.0, relative_to="E_L")
    I_e = Parameter(u.pA, 0.0)
    rho = Parameter(u.Hz, 0.01, at_least=0.0)
    delta = Parameter(u.mV, 0.0, at_least=0.0)
    U = Parameter(u.UNITLESS, 0.5, at_least=0.0, at_most=1.0)
    tau_fac = Parameter(u.ms, 1000.0, at_least=0.0)
    tau_psc = Parameter(u.ms, 2.0, above=0.0)
    tau_rec = Parameter(u.ms, 400.0, above=0.0)

    V_m = State(u.mV, -70.0, relative_to="E_L")
    I_syn_ex = State(u.pA, settable=False)
    I_syn_in = State(u.pA, settable=False)
    released = State(u.UNITLESS, settable=False)
    x = State(u.UNITLESS, at_least=0.0)
    y = State(u.UNITLESS, at_least=0.0)
    refractory = Counter()

    spikes_ex = Receptor(u.pA, sign=+1, own_port=1)
    spikes_in = Receptor(u.pA, sign=-1, own_port=1)
    released_ex = Receptor(u.pA, sign=+1, port=1, released_by=TsodyksRelease)
    released_in = Receptor(u.pA, sign=-1, port=1, released_by=TsodyksRelease)
    same_dynamics = iaf_psc_exp.same_dynamics
    records = ("I_syn_ex", "I_syn_in", "V_m")
    features = iaf_psc_exp.features
    law = iaf_psc_exp.law
    u = State(u.UNITLESS, at_least=0.0)  # last: in this class, `u` is a unit up to here

    @classmethod
    def check(cls, p):
        super().check(p)
        wrong = (p["x"] < 0) | (p["y"] < 0) | (p["x"] + p["y"] > 1) | (p["u"] < 0) | (p["u"] > 1)
        if np.any(wrong):
            k = int(np.argmax(wrong))
            raise ParameterError(
                f"iaf_tum_2000(x={p['x'][k]:g}, y={p['y'][k]:g}, u={p['u'][k]:g}): x, y, 1 - x - y and u are parts of "
                "a whole, each between 0 and 1."
            )

    @staticmethod
    def propagators(p, dt):
        a, b = -dt / p.tau_psc, -dt / p.tau_rec
        return {
            **iaf_psc_exp.propagators(p, dt),
            "decay_u": np.where(p.tau_fac > 0, np.exp(-dt / np.maximum(p.tau_fac, 1e-300)), 0.0),
            "decay_y": np.exp(a),
            "z_to_x": -np.expm1(b),
            "y_to_x": dt * dt / (p.tau_psc * p.tau_rec) * exp_differences(np.zeros_like(a), a, b),
        }

    @staticmethod
    def step(y, p, x):
        changed, spike = iaf_psc_exp.step(y, p, x)
        available = y.x + (y.y * p.y_to_x + (1.0 - y.x - y.y) * p.z_to_x)
        in_cleft, used = y.y * p.decay_y, y.u * p.decay_u
        raised = used + p.U * (1.0 - used)
        released = raised * available
        return {
            **changed,
            "I_syn_ex": changed["I_syn_ex"] + x.released_ex,
            "I_syn_in": changed["I_syn_in"] + x.released_in,
            "x": jnp.where(spike, available - released, available),
            "y": jnp.where(spike, in_cleft + released, in_cleft),
            "u": jnp.where(spike, raised, used),
            "released": jnp.where(spike, released, y.released),
        }, spike
