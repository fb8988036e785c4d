from __future__ import annotations

from typing import final

import brainunit as u
import jax.numpy as jnp
import numpy as np

from dist_sim import units
from dist_sim.nest.declared import Counter, Parameter, Receptor, State
from dist_sim.nest.laws import Linear
from dist_sim.nest.neurons.linear import constant_to_membrane
from dist_sim.nest.neurons.neuron import NESTNeuron

SHAPES = 10  # of random dead times, at most: each takes a random number per step
SPIKES = 32  # in one step, at most


@final
class pp_psc_delta(NESTNeuron):
    r"""Point process whose rate follows a leaky integrator of delta-shaped input, with adaptation and a dead time.

    .. math:: \dot V = -V/\tau_m + I_e/C_m + \sum_k w_k \delta(t - t_k), \quad
        rate = [c_1 V' + c_2 e^{c_3 V'}]_+, \quad V' = V - \sum_j q_j, \quad
        \dot q_j = -q_j/\tau_{sfa,j} + q_{sfa,j} \sum_f \delta(t - t_f)

    A spike comes with the probability 1 - exp(-rate dt) in a step; then none for dead_time, or, with `dead_time_random`, for a
    time of a gamma distribution of this mean and the shape `dead_time_shape`, and with `with_reset` V = 0. A dead time of 0
    gives a Poisson number of spikes in every step, 32 at most. Weights are in mV.

    Source: Jolivet et al. (2006), doi:10.1007/s10827-006-7074-5; Pozzorini et al. (2013), doi:10.1038/nn.3431. Checked against
    NEST 3.10: spike for spike where chance decides nothing, else by rates and intervals.
    """

    C_m = Parameter(u.pF, 250.0, above=0.0)
    tau_m = Parameter(u.ms, 10.0, above=0.0)
    dead_time = Parameter(u.ms, 1.0, at_least=0.0)
    dead_time_random = Parameter(u.UNITLESS, False)
    dead_time_shape = Parameter(u.UNITLESS, 1, at_least=1.0, at_most=float(SHAPES))
    t_ref_remaining = Parameter(u.ms, 0.0, at_least=0.0, steps=True)
    with_reset = Parameter(u.UNITLESS, True)
    c_1 = Parameter(u.Hz / u.mV, 0.0)
    c_2 = Parameter(u.Hz, 1.238)
    c_3 = Parameter(u.mV**-1, 0.25, at_least=0.0)
    q_sfa = Parameter(u.mV, (), axis="sfa")
    tau_sfa = Parameter(u.ms, (), axis="sfa", above=0.0, fill=1.0)
    I_e = Parameter(u.pA, 0.0)

    V_m = State(u.mV, 0.0)
    E_sfa = State(u.mV, settable=False)
    sfa = State(u.mV, axis="sfa", settable=False)
    refractory = Counter()

    spikes = Receptor(u.mV)
    records = ("E_sfa", "V_m")
    features = {
        "no_dead_time": lambda p: p["dead_time"] == 0,
        "random_dead_time": lambda p: (p["dead_time_random"] != 0) & (p["dead_time"] > 0),
    }
    law = Linear(uniforms=1, more_with=("random_dead_time", SHAPES))
    several_spikes = True

    @staticmethod
    def propagators(p, dt):
        dead = np.where(p.dead_time > 0, np.maximum(p.dead_time, dt), 0.0)
        return {
            "P33": np.expm1(-dt / p.tau_m),
            "P30": constant_to_membrane(p.tau_m, p.C_m, dt),
            "decay_sfa": [np.exp(-dt / tau) for tau in p.tau_sfa],
            "dead": units.steps_up(dead, dt),
            "stage": dead / p.dead_time_shape,
            "us_per_step": np.full_like(dead, np.floor(dt * 1000.0 + 0.5)),
            "rate_1": p.c_1 * dt * 1e-3,
            "rate_2": p.c_2 * dt * 1e-3,
        }

    @staticmethod
    def step(y, p, x):
        V = y.V_m + (y.V_m * p.P33 + (p.I_e + x.current) * p.P30) + x.spikes
        sfa = [shift * decay for shift, decay in zip(y.sfa, p.decay_sfa, strict=True)] if y.sfa else []
        E_sfa = sum(sfa, 0.0)
        refractory = jnp.where(x.step == 0, p.t_ref_remaining, y.refractory)
        free = refractory == 0
        effective = V - E_sfa
        expected = jnp.maximum(p.rate_1 * effective + p.rate_2 * jnp.exp(p.c_3 * effective), 0.0)
        spikes = jnp.where(free & (x.uniforms[0] < -jnp.expm1(-expected)), 1, 0)
        if "no_dead_time" in x.features:
            spikes = jnp.where(p.dead > 0, spikes, jnp.where(free, _poisson(expected, x.uniforms[0]), 0))
        dead = p.dead
        if "random_dead_time" in x.features:
            dead = jnp.where(p.dead_time_random & (p.dead > 0), _random_steps(p, x.uniforms[1:]), dead)
        spike = spikes > 0
        shifted = [shift + q * spikes.astype(shift.dtype) for shift, q in zip(sfa, p.q_sfa, strict=True)]
        return {
            "V_m": jnp.where(spike & p.with_reset, 0.0, V),
            "E_sfa": E_sfa,
            "sfa": shifted,
            "refractory": jnp.where(spike, dead, jnp.where(free, 0, refractory - 1)),
        }, spikes


def _poisson(mean, uniform):
    """A Poisson number: how many of the first sums of its probabilities a uniform number exceeds."""
    probability = jnp.exp(-mean)
    below, count = probability, jnp.where(uniform > probability, 1, 0)
    for k in range(1, SPIKES):
        probability = probability * mean / k
        below = below + probability
        count = count + jnp.where(uniform > below, 1, 0)
    return count


def _random_steps(p, uniforms):
    """A sum of `dead_time_shape` exponential times in steps, of which it covers the last one as a given time does."""
    total = 0.0
    for k, uniform in enumerate(uniforms):
        total = total + jnp.where(p.dead_time_shape > k, -jnp.log(uniform), 0.0)
    microseconds = jnp.floor(total * p.stage * 1000.0 + 0.5)
    return -jnp.floor(-(microseconds / p.us_per_step)).astype(jnp.int32)
