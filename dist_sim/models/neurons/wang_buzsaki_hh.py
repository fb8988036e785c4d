from __future__ import annotations

from typing import Any, ClassVar, final

import brainunit as u

from dist_sim.models.exp_euler import exp_euler_step, exprel
from dist_sim.models.init import Constant
from dist_sim.models.neurons.continuous import ContinuousNeuron, in_units_of, open_in_rest, opened, rising, through
from dist_sim.models.neurons.neuron import InitialValue, SpikeFunction
from dist_sim.models.parameter import Parameter
from dist_sim.models.surrogate import ReluGrad


@final
class WangBuzsakiHH(ContinuousNeuron):
    r"""Hodgkin-Huxley neuron of hippocampal interneurons, of first order in dt.

    .. math:: C \dot V = -g_{Na} m_\infty^3 h (V - E_{Na}) - g_K n^4 (V - E_K) - g_L (V - E_L) + I,
              \qquad \dot x = \phi (\alpha_x (1 - x) - \beta_x x), \quad x \in \{h, n\},
              \qquad m_\infty = \frac{\alpha_m}{\alpha_m + \beta_m}

    with, for V in mV, rates per ms:

    .. math:: \alpha_m &= \frac{0.1 (V + 35)}{1 - e^{-0.1 (V + 35)}}, & \beta_m &= 4 e^{-(V + 60) / 18} \\
              \alpha_h &= 0.07 e^{-(V + 58) / 20}, & \beta_h &= \frac{1}{1 + e^{-0.1 (V + 28)}} \\
              \alpha_n &= \frac{0.01 (V + 34)}{1 - e^{-0.1 (V + 34)}}, & \beta_n &= 0.125 e^{-(V + 44) / 80}

    A step moves V under the gates before it, and the gates under the V before it, each exactly.

    Args: (each but in_size one value, or one per neuron; a State to change or train it later)
        ENa, EK, EL, V_th [voltage], gNa, gK, gL [conductance], phi [number] > 0, C [capacitance] > 0.
        V_initializer, h_initializer, n_initializer: where the States start, quantities or numbers or callables of the shape.
        spk_fun: see :class:`Neuron`; the distance to threshold is scaled by abs(V_th). spk_reset changes nothing.
    States: V, V_before [mV], h, n [numbers], each (*in_size) or (batch, *in_size).
    Raises: UnitError, ParameterError: a wrong unit, or a bound above broken.
    Source: Wang & Buzsáki (1996), doi:10.1523/JNEUROSCI.16-20-06402.1996. Names and defaults are those of brainpy.state 0.1.
    """

    input_unit: ClassVar[Any] = u.uA

    ENa = Parameter(u.mV)
    gNa = Parameter(u.mS)
    EK = Parameter(u.mV)
    gK = Parameter(u.mS)
    EL = Parameter(u.mV)
    gL = Parameter(u.mS)
    V_th = Parameter(u.mV)
    phi = Parameter(u.UNITLESS, positive=True)
    C = Parameter(u.uF, positive=True)

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        ENa: Any = 55.0 * u.mV,
        gNa: Any = 35.0 * u.mS,
        EK: Any = -90.0 * u.mV,
        gK: Any = 9.0 * u.mS,
        EL: Any = -65.0 * u.mV,
        gL: Any = 0.1 * u.mS,
        V_th: Any = 20.0 * u.mV,
        phi: Any = 5.0,
        C: Any = 1.0 * u.uF,
        V_initializer: InitialValue = Constant(-65.0 * u.mV),
        h_initializer: InitialValue = Constant(0.6),
        n_initializer: InitialValue = Constant(0.32),
        spk_fun: SpikeFunction = ReluGrad(),
        spk_reset: str = "soft",
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, u.mV, V_initializer, spk_fun, spk_reset, name)
        self.ENa, self.gNa, self.EK, self.gK, self.EL, self.gL = ENa, gNa, EK, gK, EL, gL
        self.V_th, self.phi, self.C = V_th, phi, C
        self.h_initializer = self.initializer("h_initializer", h_initializer, u.UNITLESS)
        self.n_initializer = self.initializer("n_initializer", n_initializer, u.UNITLESS)

    def m_alpha(self, V: u.Quantity) -> Any:
        return (1.0 / u.ms) / exprel(in_units_of(-35.0 * u.mV - V, 10.0))

    def m_beta(self, V: u.Quantity) -> Any:
        return (4.0 / u.ms) * rising(in_units_of(-60.0 * u.mV - V, 18.0))

    def h_alpha(self, V: u.Quantity) -> Any:
        return (0.07 / u.ms) * rising(in_units_of(-58.0 * u.mV - V, 20.0))

    def h_beta(self, V: u.Quantity) -> Any:
        return (1.0 / u.ms) / (1.0 + rising(in_units_of(-28.0 * u.mV - V, 10.0)))

    def n_alpha(self, V: u.Quantity) -> Any:
        return (0.1 / u.ms) / exprel(in_units_of(-34.0 * u.mV - V, 10.0))

    def n_beta(self, V: u.Quantity) -> Any:
        return (0.125 / u.ms) * rising(in_units_of(-44.0 * u.mV - V, 80.0))

    def m_inf(self, V: u.Quantity) -> Any:
        return open_in_rest(self.m_alpha(V), self.m_beta(V))

    def h_inf(self, V: u.Quantity) -> Any:
        return open_in_rest(self.h_alpha(V), self.h_beta(V))

    def n_inf(self, V: u.Quantity) -> Any:
        return open_in_rest(self.n_alpha(V), self.n_beta(V))

    def init_state(self, batch_size: int | None = None) -> None:
        super().init_state(batch_size)
        self.h = self.initial(self.h_initializer, u.UNITLESS, batch_size)
        self.n = self.initial(self.n_initializer, u.UNITLESS, batch_size)

    def step(self, x: Any) -> None:
        V, h, n, m = self.V.value, self.h.value, self.n.value, self.m_inf(self.V.value)
        g_Na, g_K = self.gNa * (m * m * m * h), self.gK * (n * n * n * n)

        def slope(V: u.Quantity) -> u.Quantity:
            ionic = through(V, (g_Na, self.ENa), (g_K, self.EK), (self.gL, self.EL))
            return (self.sum_current_inputs(x, V) - ionic) * (1.0 / self.C)

        self.V.value = self.sum_delta_inputs(exp_euler_step(slope, V))
        self.h.value = opened(h, self.phi * self.h_alpha(V), self.phi * self.h_beta(V))
        self.n.value = opened(n, self.phi * self.n_alpha(V), self.phi * self.n_beta(V))
