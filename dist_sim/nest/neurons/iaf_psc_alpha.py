from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import jax
import numpy as np

from dist_sim import kernels
from dist_sim.nest.neurons.neuron import MEMBRANE, NESTNeuron, gain
from dist_sim.nest.parameter import Parameter


@final
class iaf_psc_alpha(NESTNeuron):
    r"""Leaky integrate-and-fire neuron with alpha-shaped postsynaptic currents, solved exactly on the grid.

    .. math:: \dot V = -(V - E_L)/\tau_m + (I_{ex} + I_{in} + I_e)/C_m, \quad
        I_x(t) = \sum_k w_k \frac{e}{\tau_{syn,x}} (t - t_k) e^{-(t - t_k)/\tau_{syn,x}}

    A spike where V >= V_th at the end of a step; then V = V_reset for t_ref. Weights [pA] are the amplitudes of the currents;
    positive ones act on I_syn_ex, negative ones on I_syn_in.

    Parameters: E_L, V_th, V_reset, V_min, V_m (initial; E_L) [mV], C_m [pF], tau_m, tau_syn_ex, tau_syn_in, t_ref [ms], I_e [pA].
    Names and defaults are NEST's.
    Recordables: V_m [mV], I_syn_ex, I_syn_in [pA].
    Source: Diesmann et al. (2001), doi:10.1016/S0925-2312(01)00409-X; Rotter & Diesmann (1999), doi:10.1007/s004220050570.
    Checked against NEST 3.10 spike for spike.
    """

    parameters: ClassVar[Mapping[str, Parameter]] = {
        **MEMBRANE,
        "tau_syn_ex": Parameter("ms", 2.0, positive=True),
        "tau_syn_in": Parameter("ms", 2.0, positive=True),
        "V_min": Parameter("mV", -np.inf),
    }
    recordables: ClassVar[tuple[str, ...]] = ("V_m", "I_syn_ex", "I_syn_in")
    input_unit: ClassVar[str] = "pA"

    @classmethod
    def mergeable(cls, values: Mapping[str, np.ndarray]) -> bool:
        return bool((values["tau_syn_ex"] == values["tau_syn_in"]).all())

    def build(self, values: Mapping[str, np.ndarray]) -> None:
        h, tau_m, C = self.dt, values["tau_m"], values["C_m"]
        taus = [values["tau_syn_ex"], values["tau_syn_in"]][: self.channels.count]
        decay = np.exp(-h / tau_m) / C
        self.I, self.dI = (self.state(np.zeros((self.channels.count, len(C)))) for _ in range(2))
        self.p = {
            **self.linear_membrane(values),
            "P33": self.parameter(np.exp(-h / tau_m)),
            "P30": self.parameter(-tau_m / C * np.expm1(-h / tau_m)),
            "P31": [self.parameter(h * h * decay * gain(h * (1 / tau_m - 1 / tau), 2)) for tau in taus],
            "P32": [self.parameter(h * decay * gain(h * (1 / tau_m - 1 / tau), 1)) for tau in taus],
            "P21": [self.parameter(h * np.exp(-h / tau)) for tau in taus],
            "P11": [self.parameter(np.exp(-h / tau)) for tau in taus],
            "rise": [self.parameter(np.e / tau) for tau in taus],
        }

    def update(self, arriving: jax.Array, current: jax.Array) -> jax.Array:
        return self.step(kernels.iaf_psc_alpha, arriving, self.p, current, self.V, self.I, self.dI, self.refractory)

    def recorded(self, name: str) -> jax.Array:
        if name == "V_m":
            return self.V.value + self.E_L.value
        return self.I.value[("I_syn_ex", "I_syn_in").index(name)]
