from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import jax
import numpy as np

from dist_sim import kernels
from dist_sim.nest.neurons.neuron import MEMBRANE, NESTNeuron, gain
from dist_sim.nest.parameter import Parameter


@final
class iaf_psc_exp(NESTNeuron):
    r"""Leaky integrate-and-fire neuron with exponential postsynaptic currents, solved exactly on the grid.

    .. math:: \dot V = -(V - E_L)/\tau_m + (I_{ex} + I_{in} + I_e)/C_m, \quad
        \dot I_x = -I_x/\tau_{syn,x} + \sum_k w_k \delta(t - t_k)

    A spike where V >= V_th at the end of a step; then V = V_reset for t_ref. Weights are in pA; positive ones act on I_syn_ex,
    negative ones on I_syn_in.

    Parameters: E_L, V_th, V_reset, V_m (initial; E_L) [mV], C_m [pF], tau_m, tau_syn_ex, tau_syn_in, t_ref [ms], I_e, I_syn_ex
    and I_syn_in (initial) [pA]. Names and defaults are NEST's.
    Recordables: V_m [mV], I_syn_ex, I_syn_in [pA].
    Source: Tsodyks, Uziel & Markram (2000), doi:10.1523/JNEUROSCI.20-01-j0003.2000; Rotter & Diesmann (1999),
    doi:10.1007/s004220050570. Checked against NEST 3.10 spike for spike.
    """

    parameters: ClassVar[Mapping[str, Parameter]] = {
        **MEMBRANE,
        "tau_syn_ex": Parameter("ms", 2.0, positive=True),
        "tau_syn_in": Parameter("ms", 2.0, positive=True),
        "I_syn_ex": Parameter("pA", 0.0),
        "I_syn_in": Parameter("pA", 0.0),
    }
    recordables: ClassVar[tuple[str, ...]] = ("V_m", "I_syn_ex", "I_syn_in")
    input_unit: ClassVar[str] = "pA"

    @classmethod
    def mergeable(cls, values: Mapping[str, np.ndarray]) -> bool:
        return bool((values["tau_syn_ex"] == values["tau_syn_in"]).all())

    def build(self, values: Mapping[str, np.ndarray]) -> None:
        h, tau_m, C = self.dt, values["tau_m"], values["C_m"]
        taus = [values["tau_syn_ex"], values["tau_syn_in"]][: self.channels.count]
        initial = np.stack([values["I_syn_ex"], values["I_syn_in"]])
        self.I = self.state(initial if self.channels.count == 2 else initial.sum(axis=0, keepdims=True))
        self.p = {
            **self.linear_membrane(values),
            "P22": self.parameter(np.exp(-h / tau_m)),
            "P20": self.parameter(-tau_m / C * np.expm1(-h / tau_m)),
            "P21": [self.parameter(h / C * np.exp(-h / tau_m) * gain(h * (1 / tau_m - 1 / tau), 1)) for tau in taus],
            "P11": [self.parameter(np.exp(-h / tau)) for tau in taus],
        }

    def update(self, arriving: jax.Array, current: jax.Array) -> jax.Array:
        return self.step(kernels.iaf_psc_exp, arriving, self.p, current, self.V, self.I, self.refractory)

    def recorded(self, name: str) -> jax.Array:
        if name == "V_m":
            return self.V.value + self.E_L.value
        return self.I.value[("I_syn_ex", "I_syn_in").index(name)]
