from __future__ import annotations

from typing import Any, final

import brainunit as u

from dist_sim.models.init import Constant
from dist_sim.models.neurons.gif import Gif
from dist_sim.models.neurons.neuron import InitialValue, SpikeFunction
from dist_sim.models.neurons.refractory import Refractory
from dist_sim.models.surrogate import ReluGrad


@final
class GifRef(Refractory, Gif):
    r"""Generalised integrate-and-fire neuron that holds all its States for the time tau_ref after a spike.

    As :class:`Gif`, with the refractoriness of :class:`~dist_sim.models.neurons.refractory.Refractory`.

    Args: as :class:`Gif`, and
        tau_ref [time] >= 0.
        ref_var: asks brainpy.state for the State refractory, which is here in any case.
    States: V, V_th [mV], I1, I2 [mA] and refractory, the steps left (int32), each (*in_size) or (batch, *in_size).
    Source: as :class:`Gif`.
    """

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        R: Any = 20.0 * u.ohm,
        tau: Any = 20.0 * u.ms,
        tau_ref: Any = 1.7 * u.ms,
        V_rest: Any = -70.0 * u.mV,
        V_reset: Any = -70.0 * u.mV,
        V_th_inf: Any = -50.0 * u.mV,
        V_th_reset: Any = -60.0 * u.mV,
        V_th_initializer: InitialValue = Constant(-50.0 * u.mV),
        a: Any = 0.0 / u.ms,
        b: Any = 0.01 / u.ms,
        k1: Any = 0.2 / u.ms,
        k2: Any = 0.02 / u.ms,
        R1: Any = 0.0,
        R2: Any = 1.0,
        A1: Any = 0.0 * u.mA,
        A2: Any = 0.0 * u.mA,
        V_initializer: InitialValue = Constant(-70.0 * u.mV),
        I1_initializer: InitialValue = Constant(0.0 * u.mA),
        I2_initializer: InitialValue = Constant(0.0 * u.mA),
        spk_fun: SpikeFunction = ReluGrad(),
        spk_reset: str = "soft",
        ref_var: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(
            in_size, R, tau, V_rest, V_reset, V_th_inf, V_th_reset, V_th_initializer, a, b, k1, k2, R1, R2, A1, A2,
            V_initializer, I1_initializer, I2_initializer, spk_fun, spk_reset, name,
        )  # fmt: skip
        self.tau_ref = tau_ref
