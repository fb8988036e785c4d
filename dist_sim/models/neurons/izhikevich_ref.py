from __future__ import annotations

from typing import Any, final

import brainunit as u

from dist_sim.models.init import Constant
from dist_sim.models.neurons.izhikevich import Izhikevich
from dist_sim.models.neurons.neuron import InitialValue, SpikeFunction
from dist_sim.models.neurons.refractory import Refractory
from dist_sim.models.surrogate import ReluGrad


@final
class IzhikevichRef(Refractory, Izhikevich):
    r"""Izhikevich neuron that holds V and u for the time tau_ref after a spike.

    As :class:`Izhikevich`, with the refractoriness of :class:`~dist_sim.models.neurons.refractory.Refractory`.

    Args: as :class:`Izhikevich`, and
        tau_ref [time] >= 0.
        ref_var: asks brainpy.state for the State refractory, which is here in any case.
    States: V [mV], u [mV/ms] and refractory, the steps left (int32), each (*in_size) or (batch, *in_size).
    Source: as :class:`Izhikevich`.
    """

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        a: Any = 0.02 / u.ms,
        b: Any = 0.2 / u.ms,
        c: Any = -65.0 * u.mV,
        d: Any = 8.0 * u.mV / u.ms,
        V_th: Any = 30.0 * u.mV,
        tau_ref: Any = 0.0 * u.ms,
        V_initializer: InitialValue = Constant(-65.0 * u.mV),
        u_initializer: InitialValue = Constant(0.0 * u.mV / u.ms),
        spk_fun: SpikeFunction = ReluGrad(),
        spk_reset: str = "hard",
        ref_var: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, a, b, c, d, V_th, V_initializer, u_initializer, spk_fun, spk_reset, name)
        self.tau_ref = tau_ref
