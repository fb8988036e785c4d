from __future__ import annotations

from typing import final

import brainunit as u
import numpy as np

from dist_sim.errors import ParameterError
from dist_sim.nest.declared import Parameter, Receptor, State
from dist_sim.nest.neurons.adaptive_exponential import (
    AdaptiveExponential,
    counted_down,
    membrane,
    membrane_propagators,
    reset_at_peak,
    seen,
)
from dist_sim.nest.neurons.conductance import jump


@final
class aeif_cond_beta_multisynapse(AdaptiveExponential):
    r"""Adaptive exponential integrate-and-fire neuron with beta-shaped conductances, any number of receptors.

    .. math:: C_m \dot V = -g_L (V - E_L) + g_L \Delta_T e^{(V - V_{th})/\Delta_T} - \sum_k g_k (V - E_{rev,k}) - w + I, \quad
        \tau_w \dot w = a (V - E_L) - w

    An incoming spike adds a difference of exponentials, of times tau_decay and tau_rise, to g_k: an alpha function where
    they meet.
    A spike where V >= V_peak (V_th where Delta_T = 0) after an internal step of the solver: V = V_reset for t_ref, w += b.
    Receptor types are 1 to the length of E_rev, tau_rise and tau_decay.
    Weights [nS] are the peaks of the conductances and must not be negative.

    Source: Brette & Gerstner (2005), doi:10.1152/jn.00686.2005;
    Roth & van Rossum (2010), doi:10.7551/mitpress/9780262013277.003.0007.
    Checked against NEST 3.10 spike for spike.
    """

    E_rev = Parameter(u.mV, (0.0,), axis="receptor")
    tau_rise = Parameter(u.ms, (2.0,), axis="receptor", above=0.0, fill=1.0)
    tau_decay = Parameter(u.ms, (20.0,), axis="receptor", above=0.0, fill=1.0)

    g = State(u.nS, axis="receptor", settable=False)
    dg = State(u.nS / u.ms, axis="receptor", settable=False)

    spikes = Receptor(u.nS, port=1, axis="receptor", at_least=0.0)
    records = ("V_m", "w", "g")

    @classmethod
    def check(cls, p):
        super().check(p)
        for name in (n for n in p if n.startswith("tau_rise[")):
            than = name.replace("rise", "decay")
            if np.any(p[name] > p[than]):
                k = int(np.argmax(p[name] > p[than]))
                rise, decay = (np.broadcast_to(p[n], np.shape(p[name] > p[than]))[k] for n in (name, than))
                raise ParameterError(
                    f"{cls.__name__}({name}={rise:g} ms, {than}={decay:g} ms): a conductance cannot rise more slowly than it "
                    "decays. Exchange the times: the conductance is the same."
                )

    @staticmethod
    def propagators(p, dt):
        return {
            **membrane_propagators(p),
            "rise": [1 / tau for tau in p.tau_rise],
            "decay": [1 / tau for tau in p.tau_decay],
            "jump": [jump(rise, decay) for rise, decay in zip(p.tau_rise, p.tau_decay, strict=True)],
        }

    @staticmethod
    def derivatives(y, p, x):
        V = seen(y, p)
        I_syn = sum(g * (E_rev - V) for g, E_rev in zip(y.g, p.E_rev, strict=True))
        return {
            **membrane(y, p, x, V, I_syn),
            "dg": [-dg * rate for dg, rate in zip(y.dg, p.rise, strict=True)],
            "g": [dg - g * rate for dg, g, rate in zip(y.dg, y.g, p.decay, strict=True)],
        }

    @staticmethod
    def accepted(y, p, x):
        return reset_at_peak(y, p, y.V_m)

    @staticmethod
    def step(y, p, x):
        dg = [dg + weight * peak for dg, weight, peak in zip(y.dg, x.spikes, p.jump, strict=True)]
        return {"dg": dg, "refractory": counted_down(y)}, False
