from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import jax
import numpy as np

from dist_sim import kernels
from dist_sim.nest.neurons.neuron import MEMBRANE, NESTNeuron
from dist_sim.nest.parameter import Parameter


@final
class iaf_psc_delta(NESTNeuron):
    r"""Leaky integrate-and-fire neuron whose potential jumps by the weight of every incoming spike, solved exactly on the grid.

    .. math:: \dot V = -(V - E_L)/\tau_m + I_e/C_m + \sum_k w_k \delta(t - t_k)

    A spike where V >= V_th at the end of a step; then V = V_reset for t_ref, and what arrives meanwhile is lost. Weights are in
    mV.

    Parameters: E_L, V_th, V_reset, V_min, V_m (initial; E_L) [mV], C_m [pF], tau_m, t_ref [ms], I_e [pA]. Names and defaults are
    NEST's.
    Recordables: V_m [mV].
    Source: Rotter & Diesmann (1999), doi:10.1007/s004220050570. Checked against NEST 3.10 spike for spike.
    """

    parameters: ClassVar[Mapping[str, Parameter]] = {
        **MEMBRANE,
        "V_min": Parameter("mV", -np.inf),
    }
    recordables: ClassVar[tuple[str, ...]] = ("V_m",)
    input_unit: ClassVar[str] = "mV"
    signed_channels: ClassVar[bool] = False

    def build(self, values: Mapping[str, np.ndarray]) -> None:
        h, tau_m, C = self.dt, values["tau_m"], values["C_m"]
        self.p = {
            **self.linear_membrane(values),
            "P33": self.parameter(np.exp(-h / tau_m)),
            "P30": self.parameter(-tau_m / C * np.expm1(-h / tau_m)),
        }

    def update(self, arriving: jax.Array, current: jax.Array) -> jax.Array:
        return self.step(kernels.iaf_psc_delta, arriving, self.p, current, self.V, self.refractory)

    def recorded(self, name: str) -> jax.Array:
        return self.V.value + self.E_L.value
