from __future__ import annotations

from typing import Any, final

import brainunit as u

from dist_sim.models.init import Constant
from dist_sim.models.neurons.ad_ex_if import AdExIF
from dist_sim.models.neurons.neuron import InitialValue, SpikeFunction
from dist_sim.models.neurons.refractory import Refractory
from dist_sim.models.surrogate import ReluGrad


@final
class AdExIFRef(Refractory, AdExIF):
    r"""Adaptive exponential integrate-and-fire neuron that holds V for the time tau_ref after a spike.

    As :class:`AdExIF`, with the refractoriness of :class:`~dist_sim.models.neurons.refractory.Refractory`. The adaptation
    goes on while V is held, as its equation and the documentation of brainpy.state say (whose code stops it).

    Args: as :class:`AdExIF`, and
        tau_ref [time] >= 0.
        ref_var: asks brainpy.state for the State refractory, which is here in any case.
    States: V [mV], w [mA] and refractory, the steps left (int32), each (*in_size) or (batch, *in_size).
    Source: as :class:`AdExIF`.
    """

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        R: Any = 1.0 * u.ohm,
        tau: Any = 10.0 * u.ms,
        tau_w: Any = 30.0 * u.ms,
        tau_ref: Any = 1.7 * u.ms,
        V_th: Any = -55.0 * u.mV,
        V_reset: Any = -68.0 * u.mV,
        V_rest: Any = -65.0 * u.mV,
        V_T: Any = -59.9 * u.mV,
        delta_T: Any = 3.48 * u.mV,
        a: Any = 1.0 * u.siemens,
        b: Any = 1.0 * u.mA,
        V_initializer: InitialValue = Constant(-65.0 * u.mV),
        w_initializer: InitialValue = Constant(0.0 * u.mA),
        spk_fun: SpikeFunction = ReluGrad(),
        spk_reset: str = "soft",
        ref_var: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(
            in_size, R, tau, tau_w, V_th, V_reset, V_rest, V_T, delta_T, a, b, V_initializer, w_initializer, spk_fun, spk_reset,
            name,
        )  # fmt: skip
        self.tau_ref = tau_ref
