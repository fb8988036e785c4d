from __future__ import annotations

from typing import Any, ClassVar

import brainunit as u

from dist_sim.models.init import Constant
from dist_sim.models.neurons.adaptive import Adaptive
from dist_sim.models.neurons.exp_if import ExponentialMembrane
from dist_sim.models.neurons.neuron import InitialValue, SpikeFunction
from dist_sim.models.surrogate import ReluGrad


class AdExIF(Adaptive, ExponentialMembrane):
    r"""Adaptive exponential integrate-and-fire neuron, of first order in dt.

    .. math:: \tau \dot V = -(V - V_{rest}) + \Delta_T \exp\frac{V - V_T}{\Delta_T} - R w + R I,
              \qquad \tau_w \dot w = a (V - V_{rest}) - w,
              \qquad V \ge V_{th} \Rightarrow \text{spike, } V := V_{reset}, w := w + b

    As in :class:`ExpIF`, V_th is where the upstroke is cut off, and a spike leaves V at V_reset by either reset. The default a
    and b (1 S and 1 mA with R = 1 ohm) are strong.

    Args: as :class:`ExpIF`, and
        tau_w [time] > 0, a [conductance], b [current]; w_initializer [current]: where w starts.
    States: V [mV], w [mA], each (*in_size) or (batch, *in_size).
    Raises: UnitError, ParameterError: a wrong unit, or a bound broken.
    Source: Brette & Gerstner (2005), doi:10.1152/jn.00686.2005. Names and defaults are those of brainpy.state 0.1.
    """

    adapts_while_refractory: ClassVar[bool] = True

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        R: Any = 1.0 * u.ohm,
        tau: Any = 10.0 * u.ms,
        tau_w: Any = 30.0 * u.ms,
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
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, R, tau, V_th, V_reset, V_rest, V_initializer, spk_fun, spk_reset, name)
        self.V_T, self.delta_T = V_T, delta_T
        self.adapt(tau_w, a, b, w_initializer)
