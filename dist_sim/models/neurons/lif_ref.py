from __future__ import annotations

from typing import Any, final

import brainunit as u

from dist_sim.models.init import Constant
from dist_sim.models.neurons.lif import LIF
from dist_sim.models.neurons.neuron import InitialValue, SpikeFunction
from dist_sim.models.neurons.refractory import Refractory
from dist_sim.models.surrogate import ReluGrad


@final
class LIFRef(Refractory, LIF):
    r"""Leaky integrate-and-fire neuron that holds V for the time tau_ref after a spike.

    As :class:`LIF`, with the refractoriness of :class:`~dist_sim.models.neurons.refractory.Refractory`.

    Args: as :class:`LIF`, and
        tau_ref [time] >= 0.
    States: V [mV] and refractory, the steps left (int32), each (*in_size) or (batch, *in_size).
    Source: as :class:`LIF`.
    """

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        R: Any = 1.0 * u.ohm,
        tau: Any = 5.0 * u.ms,
        tau_ref: Any = 5.0 * u.ms,
        V_th: Any = 1.0 * u.mV,
        V_reset: Any = 0.0 * u.mV,
        V_rest: Any = 0.0 * u.mV,
        V_initializer: InitialValue = Constant(0.0 * u.mV),
        spk_fun: SpikeFunction = ReluGrad(),
        spk_reset: str = "soft",
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, R, tau, V_th, V_reset, V_rest, V_initializer, spk_fun, spk_reset, name)
        self.tau_ref = tau_ref
