from __future__ import annotations

from typing import Any, ClassVar, final

import brainunit as u

from dist_sim.core import HiddenState
from dist_sim.models.exp_euler import exp_euler_step, exprel
from dist_sim.models.init import Uniform
from dist_sim.models.neurons.continuous import ContinuousNeuron, in_units_of, open_in_rest, opened, rising, through
from dist_sim.models.neurons.neuron import InitialValue, SpikeFunction
from dist_sim.models.parameter import Parameter
from dist_sim.models.surrogate import ReluGrad


@final
class HH(ContinuousNeuron):
    r"""Hodgkin-Huxley neuron, of first order in dt.

    .. math:: C \dot V = -\bar g_{Na} m^3 h (V - E_{Na}) - \bar g_K n^4 (V - E_K) - g_L (V - E_L) + I,
              \qquad \dot x = \alpha_x (1 - x) - \beta_x x, \quad x \in \{m, h, n\}

    with, for V in mV, rates per ms:

    .. math:: \alpha_m &= \frac{0.1 (V + 40)}{1 - e^{-(V + 40) / 10}}, & \beta_m &= 4 e^{-(V + 65) / 18} \\
              \alpha_h &= 0.07 e^{-(V + 65) / 20}, & \beta_h &= \frac{1}{1 + e^{-(V + 35) / 10}} \\
              \alpha_n &= \frac{0.01 (V + 55)}{1 - e^{-(V + 55) / 10}}, & \beta_n &= 0.125 e^{-(V + 65) / 80}

    A step moves V under the gates before it, and the gates under the V before it, each exactly.

    Args: (each but in_size one value, or one per neuron; a State to change or train it later)
        ENa, EK, EL, V_th [voltage], gNa, gK, gL [conductance], C [capacitance] > 0. The default gL is a tenth of the 0.3 mS of
            Hodgkin & Huxley.
        V_initializer: where V starts, by default anywhere from -70 to -60 mV; a quantity or a callable of the shape.
        m_initializer, h_initializer, n_initializer: where the gates start; None: at rest for that V.
        spk_fun: see :class:`Neuron`; the distance to threshold is scaled by abs(V_th). spk_reset changes nothing.
    States: V, V_before [mV], m, h, n [numbers], each (*in_size) or (batch, *in_size).
    Raises: UnitError, ParameterError: a wrong unit, or a bound above broken.
    Source: Hodgkin & Huxley (1952), doi:10.1113/jphysiol.1952.sp004764. Names and defaults are those of brainpy.state 0.1.
    """

    input_unit: ClassVar[Any] = u.uA

    ENa = Parameter(u.mV)
    gNa = Parameter(u.mS)
    EK = Parameter(u.mV)
    gK = Parameter(u.mS)
    EL = Parameter(u.mV)
    gL = Parameter(u.mS)
    V_th = Parameter(u.mV)
    C = Parameter(u.uF, positive=True)

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        ENa: Any = 50.0 * u.mV,
        gNa: Any = 120.0 * u.mS,
        EK: Any = -77.0 * u.mV,
        gK: Any = 36.0 * u.mS,
        EL: Any = -54.387 * u.mV,
        gL: Any = 0.03 * u.mS,
        V_th: Any = 20.0 * u.mV,
        C: Any = 1.0 * u.uF,
        V_initializer: InitialValue = Uniform(-70.0 * u.mV, -60.0 * u.mV),
        m_initializer: InitialValue | None = None,
        h_initializer: InitialValue | None = None,
        n_initializer: InitialValue | None = None,
        spk_fun: SpikeFunction = ReluGrad(),
        spk_reset: str = "soft",
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, u.mV, V_initializer, spk_fun, spk_reset, name)
        self.ENa, self.gNa, self.EK, self.gK, self.EL, self.gL = ENa, gNa, EK, gK, EL, gL
        self.V_th, self.C = V_th, C
        self.m_initializer = self._gate("m_initializer", m_initializer)
        self.h_initializer = self._gate("h_initializer", h_initializer)
        self.n_initializer = self._gate("n_initializer", n_initializer)

    def _gate(self, parameter: str, given: InitialValue | None) -> Any:
        return None if given is None else self.initializer(parameter, given, u.UNITLESS)

    def m_alpha(self, V: u.Quantity) -> Any:
        return (1.0 / u.ms) / exprel(in_units_of(-40.0 * u.mV - V, 10.0))

    def m_beta(self, V: u.Quantity) -> Any:
        return (4.0 / u.ms) * rising(in_units_of(-65.0 * u.mV - V, 18.0))

    def h_alpha(self, V: u.Quantity) -> Any:
        return (0.07 / u.ms) * rising(in_units_of(-65.0 * u.mV - V, 20.0))

    def h_beta(self, V: u.Quantity) -> Any:
        return (1.0 / u.ms) / (1.0 + rising(in_units_of(-35.0 * u.mV - V, 10.0)))

    def n_alpha(self, V: u.Quantity) -> Any:
        return (0.1 / u.ms) / exprel(in_units_of(-55.0 * u.mV - V, 10.0))

    def n_beta(self, V: u.Quantity) -> Any:
        return (0.125 / u.ms) * rising(in_units_of(-65.0 * u.mV - V, 80.0))

    def m_inf(self, V: u.Quantity) -> Any:
        return open_in_rest(self.m_alpha(V), self.m_beta(V))

    def h_inf(self, V: u.Quantity) -> Any:
        return open_in_rest(self.h_alpha(V), self.h_beta(V))

    def n_inf(self, V: u.Quantity) -> Any:
        return open_in_rest(self.n_alpha(V), self.n_beta(V))

    def init_state(self, batch_size: int | None = None) -> None:
        super().init_state(batch_size)
        V = self.V.value

        def first(initializer: Any, rest: Any) -> HiddenState:
            return HiddenState(rest) if initializer is None else self.initial(initializer, u.UNITLESS, batch_size)

        self.m = first(self.m_initializer, self.m_inf(V))
        self.h = first(self.h_initializer, self.h_inf(V))
        self.n = first(self.n_initializer, self.n_inf(V))

    def step(self, x: Any) -> None:
        V, m, h, n = self.V.value, self.m.value, self.h.value, self.n.value
        g_Na, g_K = self.gNa * (m * m * m * h), self.gK * (n * n * n * n)

        def slope(V: u.Quantity) -> u.Quantity:
            ionic = through(V, (g_Na, self.ENa), (g_K, self.EK), (self.gL, self.EL))
            return (self.sum_current_inputs(x, V) - ionic) * (1.0 / self.C)

        self.V.value = self.sum_delta_inputs(exp_euler_step(slope, V))
        self.m.value = opened(m, self.m_alpha(V), self.m_beta(V))
        self.h.value = opened(h, self.h_alpha(V), self.h_beta(V))
        self.n.value = opened(n, self.n_alpha(V), self.n_beta(V))
