from __future__ import annotations

from typing import Any, ClassVar

import brainunit as u

from dist_sim.models.init import Constant
from dist_sim.models.neurons.adaptive import Adaptive
from dist_sim.models.neurons.neuron import InitialValue, SpikeFunction
from dist_sim.models.neurons.qua_if import QuadraticMembrane
from dist_sim.models.surrogate import ReluGrad


class AdQuaIF(Adaptive, QuadraticMembrane):
    r"""Adaptive quadratic integrate-and-fire neuron, of first order in dt.

    .. math:: \tau \dot V = c (V - V_{rest}) (V - V_c) - R w + R I,
              \qquad \tau_w \dot w = a (V - V_{rest}) - w,
              \qquad V \ge V_{th} \Rightarrow \text{spike, } V := V_{reset}, w := w + b

    As in :class:`QuaIF`, V_th is where the upstroke is cut off, and a spike leaves V at V_reset by either reset.

    Args: as :class:`QuaIF`, and
        tau_w [time] > 0, a [conductance], b [current]; w_initializer [current]: where w starts.
    States: V [mV], w [mA], each (*in_size) or (batch, *in_size).
    Raises: UnitError, ParameterError: a wrong unit, or a bound broken.
    Source: Izhikevich (2004), doi:10.1109/TNN.2004.832719; Touboul (2008), doi:10.1137/070687268. Names and defaults are those
    of brainpy.state 0.1, whose documentation leaves out R before w.
    """

    adapts_while_refractory: ClassVar[bool] = False

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        R: Any = 1.0 * u.ohm,
        tau: Any = 10.0 * u.ms,
        tau_w: Any = 10.0 * u.ms,
        V_th: Any = -30.0 * u.mV,
        V_reset: Any = -68.0 * u.mV,
        V_rest: Any = -65.0 * u.mV,
        V_c: Any = -50.0 * u.mV,
        c: Any = 0.07 / u.mV,
        a: Any = 1.0 * u.siemens,
        b: Any = 0.1 * u.mA,
        V_initializer: InitialValue = Constant(-65.0 * u.mV),
        w_initializer: InitialValue = Constant(0.0 * u.mA),
        spk_fun: SpikeFunction = ReluGrad(),
        spk_reset: str = "soft",
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, R, tau, V_th, V_reset, V_rest, V_initializer, spk_fun, spk_reset, name)
        self.V_c, self.c = V_c, c
        self.adapt(tau_w, a, b, w_initializer)
