"""What the adaptive exponential integrate-and-fire neurons share; each adds its synapses."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax.numpy as jnp
import numpy as np

from dist_sim.errors import ParameterError
from dist_sim.nest.declared import Counter, Parameter, State
from dist_sim.nest.laws import Adaptive
from dist_sim.nest.neurons.neuron import NESTNeuron

LARGEST_EXPONENT = np.log(np.finfo(np.float64).max / 1e20)  # of the upstroke in units of Delta_T: NEST's limit
_LARGEST_IN_FLOAT32 = 60.0  # there the upstroke goes on with this rate, which ends it within the same step


class AdaptiveExponential(NESTNeuron):
    r"""The membrane of Brette & Gerstner, without synapses. Abstract: a model derives from it.

    .. math:: C_m \dot V = -g_L (V - E_L) + g_L \Delta_T e^{(V - V_{th})/\Delta_T} - w + I, \qquad
        \tau_w \dot w = a (V - E_L) - w
    """

    C_m = Parameter(u.pF, 281.0, above=0.0)
    t_ref = Parameter(u.ms, 0.0, at_least=0.0, steps=True)
    V_reset = Parameter(u.mV, -60.0)
    E_L = Parameter(u.mV, -70.6)
    g_L = Parameter(u.nS, 30.0)
    I_e = Parameter(u.pA, 0.0)
    a = Parameter(u.nS, 4.0)
    b = Parameter(u.pA, 80.5)
    Delta_T = Parameter(u.mV, 2.0, at_least=0.0)
    tau_w = Parameter(u.ms, 144.0, above=0.0)
    V_th = Parameter(u.mV, -50.4)
    V_peak = Parameter(u.mV, 0.0)
    gsl_error_tol = Parameter(u.UNITLESS, 1e-6, above=0.0)

    V_m = State(u.mV, -70.6)
    w = State(u.pA, 0.0)
    refractory = Counter()

    law = Adaptive(tolerance="gsl_error_tol", control="dy")

    @classmethod
    def check(cls, p):
        cls.refuse_where(p["V_reset"] >= p["V_peak"], p, "V_reset", "V_peak", "must be below", "The neuron would spike for ever.")
        cls.refuse_where(p["V_peak"] < p["V_th"], p, "V_peak", "V_th", "must be at least", "A spike ends above its threshold.")
        sharp = p["Delta_T"] == 0
        cls.refuse_where(
            sharp & (p["V_reset"] >= p["V_th"]), p, "V_reset", "V_th", "must be below",
            "With Delta_T = 0 the threshold is V_th, and the neuron would spike for ever.",
        )  # fmt: skip
        exponent = (p["V_peak"] - p["V_th"]) / np.where(sharp, np.inf, p["Delta_T"])
        if np.any(exponent >= LARGEST_EXPONENT):
            k = int(np.argmax(exponent >= LARGEST_EXPONENT))
            V_peak, V_th, Delta_T = (np.broadcast_to(p[n], exponent.shape)[k] for n in ("V_peak", "V_th", "Delta_T"))
            raise ParameterError(
                f"{cls.__name__}(V_peak={V_peak:g} mV, V_th={V_th:g} mV, Delta_T={Delta_T:g} mV): (V_peak - V_th) / Delta_T "
                f"must be below {LARGEST_EXPONENT:.0f}: the upstroke would overflow. Lower V_peak or raise Delta_T; 0 is allowed."
            )


def membrane_propagators(p: Any) -> dict[str, np.ndarray]:
    """What `membrane` and `reset_at_peak` read besides parameters."""
    exponential = p.Delta_T > 0
    return {
        "V_cut": np.where(exponential, p.V_peak, p.V_th),
        "per_Delta_T": np.where(exponential, 1 / np.where(exponential, p.Delta_T, 1.0), 0.0),
        "upstroke": p.g_L * p.Delta_T,
        "per_C": 1 / p.C_m,
        "rate_w": 1 / p.tau_w,
    }


def seen(y: Any, p: Any) -> Any:
    """The potential that currents see: V_reset while refractory, at most V_peak else."""
    return jnp.where(y.refractory > 0, p.V_reset, jnp.where(y.V_m > p.V_peak, p.V_peak, y.V_m))


def membrane(y: Any, p: Any, x: Any, V: Any, I_syn: Any) -> dict[str, Any]:
    """dV/dt, which is 0 while refractory, and dw/dt, of a potential that is seen and the current out of the synapses [pA]."""
    exponent = (V - p.V_th) * p.per_Delta_T
    if exponent.dtype == jnp.float32:
        exponent = jnp.where(exponent > _LARGEST_IN_FLOAT32, _LARGEST_IN_FLOAT32, exponent)
    current = -(p.g_L * (V - p.E_L)) + p.upstroke * jnp.exp(exponent) + I_syn - y.w + p.I_e + x.current
    return {
        "V_m": jnp.where(y.refractory > 0, 0.0, current * p.per_C),
        "w": (p.a * (V - p.E_L) - y.w) * p.rate_w,
    }


def reset_at_peak(y: Any, p: Any, V: Any) -> tuple[dict[str, Any], Any]:
    """What an internal step ends with: refractory neurons are held at V_reset, others spike at V_peak. V: the potential [mV]."""
    waits = y.refractory > 0
    spike = ~waits & (V >= p.V_cut) & (V < jnp.inf)
    return {
        "V_m": jnp.where(waits | spike, p.V_reset, V),
        "w": jnp.where(spike, y.w + p.b, y.w),
        # One more, for this step's end counts too; without a refractory time several spikes may be in a step.
        "refractory": jnp.where(spike & (p.t_ref > 0), p.t_ref + 1, y.refractory),
    }, spike


def counted_down(y: Any) -> Any:
    """Steps of refractoriness that are left after this one."""
    return jnp.where(y.refractory > 0, y.refractory - 1, 0)
