from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp
import numpy as np

from dist_sim.nest.declared import Counter, Parameter, Receptor, State, recordable
from dist_sim.nest.laws import Linear
from dist_sim.nest.neurons.linear import constant_to_membrane, exp_differences, exponential_to_membrane
from dist_sim.nest.neurons.neuron import NESTNeuron, crossed


@final
class amat2_psc_exp(NESTNeuron):
    r"""`mat2_psc_exp` whose threshold follows the slope of the potential, too; solved exactly on the grid.

    .. math:: \dot V = -(V - E_L)/\tau_m + (I_{ex} + I_{in} + I_e)/C_m, \quad
        V_{th} = \omega + \theta_1 + \theta_2 + \theta_v, \quad
        \dot \theta_j = -\theta_j/\tau_j + \alpha_j \sum_f \delta(t - t_f), \quad
        \theta_v(t) = \beta \int_0^\infty s e^{-s/\tau_v} \dot V(t - s) ds

    A spike where V >= V_th at the end of a step, and then none for t_ref; the potential goes on. Weights are in pA; positive
    ones act on I_syn_ex, negative ones on I_syn_in. `V_th_alpha_1`, `V_th_alpha_2` and `V_th_v` are the parts of the threshold.

    Source: Yamauchi, Kim & Shinomoto (2011), doi:10.3389/fncom.2011.00042. Checked against NEST 3.10 spike for spike; time
    constants that are equal, which NEST refuses, are exact here.
    """

    E_L = Parameter(u.mV, -70.0)
    C_m = Parameter(u.pF, 200.0, above=0.0)
    tau_m = Parameter(u.ms, 10.0, above=0.0)
    tau_syn_ex = Parameter(u.ms, 1.0, above=0.0)
    tau_syn_in = Parameter(u.ms, 3.0, above=0.0)
    t_ref = Parameter(u.ms, 2.0, above=0.0, steps=True)
    tau_1 = Parameter(u.ms, 10.0, above=0.0)
    tau_2 = Parameter(u.ms, 200.0, above=0.0)
    tau_v = Parameter(u.ms, 5.0, above=0.0)
    alpha_1 = Parameter(u.mV, 10.0)
    alpha_2 = Parameter(u.mV, 0.0)
    beta = Parameter(u.ms**-1, 0.0)
    omega = Parameter(u.mV, -65.0, relative_to="E_L")
    I_e = Parameter(u.pA, 0.0)

    V_m = State(u.mV, -70.0, relative_to="E_L")
    V_th_alpha_1 = State(u.mV)
    V_th_alpha_2 = State(u.mV)
    V_th_v = State(u.mV)
    dV_th_v = State(u.mV / u.ms, settable=False)
    I_syn_ex = State(u.pA, settable=False)
    I_syn_in = State(u.pA, settable=False)
    refractory = Counter()

    spikes_ex = Receptor(u.pA, sign=+1)
    spikes_in = Receptor(u.pA, sign=-1)
    same_dynamics = (("tau_syn_ex", "tau_syn_in"),)
    records = ("V_m", "V_th", "V_th_v", "I_syn_ex", "I_syn_in")
    law = Linear()

    @recordable(u.mV)
    def V_th(y, p):
        return p.omega + p.E_L + y.V_th_alpha_1 + y.V_th_alpha_2 + y.V_th_v

    @staticmethod
    def propagators(p, dt):
        m, v = -dt / p.tau_m, -dt / p.tau_v
        current, slope = p.beta / p.C_m * dt, dt / p.tau_m

        def to_dV_th_v(s):
            return current * (exp_differences(s, v) - slope * exp_differences(s, m, v))

        def to_V_th_v(s):
            return current * dt * (exp_differences(s, v, v) - slope * exp_differences(s, m, v, v))

        return {
            "P22": np.expm1(m),
            "P20": constant_to_membrane(p.tau_m, p.C_m, dt),
            "P21_ex": exponential_to_membrane(p.tau_syn_ex, p.tau_m, p.C_m, dt),
            "P21_in": exponential_to_membrane(p.tau_syn_in, p.tau_m, p.C_m, dt),
            "P11_ex": np.exp(-dt / p.tau_syn_ex),
            "P11_in": np.exp(-dt / p.tau_syn_in),
            "decay_1": np.exp(-dt / p.tau_1),
            "decay_2": np.exp(-dt / p.tau_2),
            "decay_v": np.exp(v),
            "P_dv": dt * np.exp(v),
            # The slope of the potential goes into dV_th_v, and that into V_th_v: what V, a constant current and synaptic ones do.
            "D_V": -p.beta * slope * exp_differences(m, v),
            "D_0": to_dV_th_v(np.zeros_like(m)),
            "D_ex": to_dV_th_v(-dt / p.tau_syn_ex),
            "D_in": to_dV_th_v(-dt / p.tau_syn_in),
            "W_V": -p.beta * slope * dt * exp_differences(m, v, v),
            "W_0": to_V_th_v(np.zeros_like(m)),
            "W_ex": to_V_th_v(-dt / p.tau_syn_ex),
            "W_in": to_V_th_v(-dt / p.tau_syn_in),
        }

    @staticmethod
    def step(y, p, x):
        current = p.I_e + x.current
        V = y.V_m + (y.V_m * p.P22 + current * p.P20 + y.I_syn_ex * p.P21_ex + y.I_syn_in * p.P21_in)
        theta_v = y.V_th_v * p.decay_v + y.dV_th_v * p.P_dv
        theta_v = theta_v + (y.V_m * p.W_V + current * p.W_0 + y.I_syn_ex * p.W_ex + y.I_syn_in * p.W_in)
        dtheta_v = y.dV_th_v * p.decay_v + (y.V_m * p.D_V + current * p.D_0 + y.I_syn_ex * p.D_ex + y.I_syn_in * p.D_in)
        theta_1, theta_2 = y.V_th_alpha_1 * p.decay_1, y.V_th_alpha_2 * p.decay_2
        spike = (y.refractory == 0) & crossed(V, p.omega + theta_1 + theta_2 + theta_v)
        left = jnp.where(y.refractory == 0, 0, y.refractory - 1)
        return {
            "V_m": V,
            "V_th_alpha_1": jnp.where(spike, theta_1 + p.alpha_1, theta_1),
            "V_th_alpha_2": jnp.where(spike, theta_2 + p.alpha_2, theta_2),
            "V_th_v": theta_v,
            "dV_th_v": dtheta_v,
            "I_syn_ex": y.I_syn_ex * p.P11_ex + x.spikes_ex,
            "I_syn_in": y.I_syn_in * p.P11_in + x.spikes_in,
            "refractory": jnp.where(spike, p.t_ref, left),
        }, spike
