from __future__ import annotations

from typing import Any, ClassVar, final

import brainunit as u

from dist_sim.models.exp_euler import exp_euler_step
from dist_sim.models.init import Constant, Uniform
from dist_sim.models.neurons.continuous import ContinuousNeuron, through
from dist_sim.models.neurons.neuron import InitialValue, SpikeFunction
from dist_sim.models.parameter import Parameter
from dist_sim.models.surrogate import ReluGrad


@final
class MorrisLecar(ContinuousNeuron):
    r"""Morris-Lecar neuron, of first order in dt.

    .. math:: C \dot V = -g_{Ca} M_\infty (V - V_{Ca}) - g_K W (V - V_K) - g_{leak} (V - V_{leak}) + I,
              \qquad \dot W = \frac{W_\infty - W}{\tau_W}

    .. math:: M_\infty = \tfrac12 \left(1 + \tanh\frac{V - V_1}{V_2}\right),
              \quad W_\infty = \tfrac12 \left(1 + \tanh\frac{V - V_3}{V_4}\right),
              \quad \tau_W = \frac{1}{\phi \cosh\frac{V - V_3}{2 V_4}}

    A step moves V under the W before it, and W under the V before it, each exactly but for M.

    Args: (each but in_size one value, or one per neuron; a State to change or train it later)
        V_Ca, V_K, V_leak, V1, V2 > 0, V3, V4 > 0, V_th [voltage], g_Ca, g_K, g_leak [conductance], C [capacitance] > 0,
        phi [1 / time].
        V_initializer: where V starts, by default anywhere from -70 to -60 mV. W_initializer: where W starts.
        spk_fun: see :class:`Neuron`; the distance to threshold is scaled by abs(V_th). spk_reset changes nothing.
    States: V, V_before [mV], W [number], each (*in_size) or (batch, *in_size).
    Raises: UnitError, ParameterError: a wrong unit, or a bound above broken.
    Source: Morris & Lecar (1981), doi:10.1016/S0006-3495(81)84782-0. Names and defaults are those of brainpy.state 0.1.
    """

    input_unit: ClassVar[Any] = u.uA

    V_Ca = Parameter(u.mV)
    g_Ca = Parameter(u.mS)
    V_K = Parameter(u.mV)
    g_K = Parameter(u.mS)
    V_leak = Parameter(u.mV)
    g_leak = Parameter(u.mS)
    C = Parameter(u.uF, positive=True)
    V1 = Parameter(u.mV)
    V2 = Parameter(u.mV, positive=True)
    V3 = Parameter(u.mV)
    V4 = Parameter(u.mV, positive=True)
    phi = Parameter(u.ms**-1)
    V_th = Parameter(u.mV)

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        V_Ca: Any = 130.0 * u.mV,
        g_Ca: Any = 4.4 * u.mS,
        V_K: Any = -84.0 * u.mV,
        g_K: Any = 8.0 * u.mS,
        V_leak: Any = -60.0 * u.mV,
        g_leak: Any = 2.0 * u.mS,
        C: Any = 20.0 * u.uF,
        V1: Any = -1.2 * u.mV,
        V2: Any = 18.0 * u.mV,
        V3: Any = 2.0 * u.mV,
        V4: Any = 30.0 * u.mV,
        phi: Any = 0.04 / u.ms,
        V_th: Any = 10.0 * u.mV,
        V_initializer: InitialValue = Uniform(-70.0 * u.mV, -60.0 * u.mV),
        W_initializer: InitialValue = Constant(0.02),
        spk_fun: SpikeFunction = ReluGrad(),
        spk_reset: str = "soft",
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, u.mV, V_initializer, spk_fun, spk_reset, name)
        self.V_Ca, self.g_Ca, self.V_K, self.g_K, self.V_leak, self.g_leak = V_Ca, g_Ca, V_K, g_K, V_leak, g_leak
        self.C, self.V1, self.V2, self.V3, self.V4, self.phi, self.V_th = C, V1, V2, V3, V4, phi, V_th
        self.W_initializer = self.initializer("W_initializer", W_initializer, u.UNITLESS)

    def init_state(self, batch_size: int | None = None) -> None:
        super().init_state(batch_size)
        self.W = self.initial(self.W_initializer, u.UNITLESS, batch_size)

    def step(self, x: Any) -> None:
        V, W = self.V.value, self.W.value
        M = 0.5 * (1.0 + u.math.tanh((V - self.V1) * (1.0 / self.V2)))
        away = (V - self.V3) * (1.0 / self.V4)
        W_inf, rate = 0.5 * (1.0 + u.math.tanh(away)), self.phi * u.math.cosh(u.math.clip(0.5 * away, -40.0, 40.0))

        def slope(V: u.Quantity) -> u.Quantity:
            ionic = through(V, (self.g_Ca * M, self.V_Ca), (self.g_K * W, self.V_K), (self.g_leak, self.V_leak))
            return (self.sum_current_inputs(x, V) - ionic) * (1.0 / self.C)

        self.V.value = self.sum_delta_inputs(exp_euler_step(slope, V))
        self.W.value = exp_euler_step(lambda W: (W_inf - W) * rate, W)
