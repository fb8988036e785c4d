from __future__ import annotations

from typing import Any, final

import brainunit as u

from dist_sim.models.init import Constant
from dist_sim.models.neurons.exp_if import ExpIF
from dist_sim.models.neurons.neuron import InitialValue, SpikeFunction
from dist_sim.models.neurons.refractory import Refractory
from dist_sim.models.surrogate import ReluGrad


@final
class ExpIFRef(Refractory, ExpIF):
    r"""Exponential integrate-and-fire neuron that holds V for the time tau_ref after a spike.

    As :class:`ExpIF`, with the refractoriness of :class:`~dist_sim.models.neurons.refractory.Refractory`.

    Args: as :class:`ExpIF`, and
        tau_ref [time] >= 0.
        ref_var: asks brainpy.state for the State refractory, which is here in any case.
    States: V [mV] and refractory, the steps left (int32), each (*in_size) or (batch, *in_size).
    Source: as :class:`ExpIF`.
    """

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        R: Any = 1.0 * u.ohm,
        tau: Any = 10.0 * u.ms,
        tau_ref: Any = 1.7 * u.ms,
        V_th: Any = -30.0 * u.mV,
        V_reset: Any = -68.0 * u.mV,
        V_rest: Any = -65.0 * u.mV,
        V_T: Any = -59.9 * u.mV,
        delta_T: Any = 3.48 * u.mV,
        V_initializer: InitialValue = Constant(-65.0 * u.mV),
        spk_fun: SpikeFunction = ReluGrad(),
        spk_reset: str = "soft",
        ref_var: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, R, tau, V_th, V_reset, V_rest, V_T, delta_T, V_initializer, spk_fun, spk_reset, name)
        self.tau_ref = tau_ref
