from __future__ import annotations

import math
from typing import final

import brainunit as u

from dist_sim.nest.synapses.declared import Parameter, Variable
from dist_sim.nest.synapses.release import Release

_ALL_OF_IT = 40.0  # x above which gamma(a, x) is Gamma(a) in double precision, for a below 1


@final
class NMDARelease(Release):
    r"""By how much a spike of `iaf_bw_2001` opens its own NMDA gate, in parts of a weight.

    .. math:: \dot s = -s/\tau_{decay} + (k_0 + k_1 s) \delta(t - t_f), \quad
        k_0 = (\alpha \tau_{rise})^{\tau_{rise}/\tau_{decay}} \gamma(1 - \tau_{rise}/\tau_{decay}, \alpha \tau_{rise}), \quad
        k_1 = e^{-\alpha \tau_{rise}} - 1

    A spike passes on its jump, which is at most k_0.

    Source: Wang (1999), doi:10.1523/JNEUROSCI.19-21-09587.1999, approximated as NEST does. Checked against NEST 3.10.
    """

    tau_decay_NMDA = Parameter(u.ms, 100.0, above=0.0, decays=True)
    k_0 = Parameter(u.UNITLESS, 1.0, at_least=0.0)
    k_1 = Parameter(u.UNITLESS, 0.0, at_least=-1.0, at_most=0.0)

    s = Variable(0.0, hidden=True)

    reads = ("tau_decay_NMDA", "tau_rise_NMDA", "alpha")

    @classmethod
    def of_neuron(cls, p):
        tau_decay, part = p["tau_decay_NMDA"], p["tau_rise_NMDA"] / p["tau_decay_NMDA"]
        opened = p["alpha"] * p["tau_rise_NMDA"]
        k_0 = opened**part * lower_gamma(1.0 - part, opened)
        return {"tau_decay_NMDA": tau_decay, "k_0": k_0, "k_1": math.expm1(-opened)}

    @classmethod
    def largest(cls, p, largest):
        return largest * p["k_0"]

    @staticmethod
    def on_pre(s, p, e):
        left = s.s * e.decay.tau_decay_NMDA
        jump = p.k_0 + p.k_1 * left
        return {"s": left + jump}, jump * s.weight


def lower_gamma(a: float, x: float) -> float:
    """The integral of t^(a-1) e^-t over t from 0 to x > 0, for 0 < a <= 1.

    Source: its series of positive terms, DLMF 8.7.1.
    """
    if x > _ALL_OF_IT:
        return math.gamma(a)
    term = total = 1.0 / a
    n = 0
    while term > total * 1e-17:
        n += 1
        term *= x / (a + n)
        total += term
    return x**a * math.exp(-x) * total
