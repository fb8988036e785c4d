from __future__ import annotations

from typing import Any

import brainunit as u
import jax

from dist_sim.models.exp_euler import exp_euler_step
from dist_sim.models.init import Constant
from dist_sim.models.neurons.neuron import InitialValue, SpikeFunction
from dist_sim.models.neurons.resetting import ResettingNeuron
from dist_sim.models.parameter import Parameter
from dist_sim.models.rounded import rounded
from dist_sim.models.surrogate import ReluGrad


class Gif(ResettingNeuron):
    r"""Generalised integrate-and-fire neuron: two internal currents and a threshold that moves; of first order in dt.

    .. math:: \tau \dot V = -(V - V_{rest}) + R (I_1 + I_2 + I), \qquad \dot I_j = -k_j I_j,
              \qquad \dot V_{th} = a (V - V_{rest}) - b (V_{th} - V_{th\infty})

    At V >= V_th: a spike and reset of V, I_j := R_j I_j + A_j, V_th := max(V_th_reset, V_th). A step moves each State under the
    others as they were before.

    Args: (each but in_size one value, or one per neuron; a State to change or train it later)
        R [resistance], tau [time] > 0, V_rest, V_reset, V_th_inf, V_th_reset [voltage]; V_reset below V_th_inf.
        a, b, k1, k2 [1 / time]; R1, R2 [numbers]; A1, A2 [current].
        V_th_initializer, V_initializer [voltage], I1_initializer, I2_initializer [current]: where the States start.
        spk_fun, spk_reset: see :class:`Neuron`; the distance to threshold is scaled by V_th_inf - V_reset.
    States: V, V_th [mV], I1, I2 [mA], each (*in_size) or (batch, *in_size).
    Raises: UnitError, ParameterError: a wrong unit, or a bound above broken.
    Source: Mihalas & Niebur (2009), doi:10.1162/neco.2008.12-07-680. Names and defaults are those of brainpy.state 0.1, which
    scales by V_th - V_reset and so turns the threshold around where it has moved below V_reset, and whose Gif (not its GifRef)
    moves V under the currents after the step.
    """

    R = Parameter(u.ohm)
    tau = Parameter(u.ms, positive=True)
    V_rest = Parameter(u.mV)
    V_reset = Parameter(u.mV)
    V_th_inf = Parameter(u.mV)
    V_th_reset = Parameter(u.mV)
    a = Parameter(u.ms**-1)
    b = Parameter(u.ms**-1)
    k1 = Parameter(u.ms**-1)
    k2 = Parameter(u.ms**-1)
    R1 = Parameter(u.UNITLESS)
    R2 = Parameter(u.UNITLESS)
    A1 = Parameter(u.mA)
    A2 = Parameter(u.mA)

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        R: Any = 20.0 * u.ohm,
        tau: Any = 20.0 * u.ms,
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
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, spk_fun=spk_fun, spk_reset=spk_reset, name=name)
        self.R, self.tau, self.V_rest, self.V_reset = R, tau, V_rest, V_reset
        self.V_th_inf, self.V_th_reset, self.a, self.b = V_th_inf, V_th_reset, a, b
        self.k1, self.k2, self.R1, self.R2, self.A1, self.A2 = k1, k2, R1, R2, A1, A2
        self.check_reset(self.V_th_inf, self.V_reset, ("V_th_inf", "V_reset"))
        self.V_initializer = self.initializer("V_initializer", V_initializer, u.mV)
        self.I1_initializer = self.initializer("I1_initializer", I1_initializer, u.mA)
        self.I2_initializer = self.initializer("I2_initializer", I2_initializer, u.mA)
        self.V_th_initializer = self.initializer("V_th_initializer", V_th_initializer, u.mV)

    def init_state(self, batch_size: int | None = None) -> None:
        self.V = self.initial(self.V_initializer, u.mV, batch_size)
        self.I1 = self.initial(self.I1_initializer, u.mA, batch_size)
        self.I2 = self.initial(self.I2_initializer, u.mA, batch_size)
        self.V_th = self.initial(self.V_th_initializer, u.mV, batch_size)

    def get_spike(self, V: Any = None, V_th: Any = None) -> jax.Array:
        """Spikes 0. or 1. at the potential V and threshold V_th, by default the present ones; of their shape."""
        V = self.V.value if V is None else V
        V_th = self.V_th.value if V_th is None else V_th
        return self.spk_fun((V - V_th) * (1.0 / (self.V_th_inf - self.V_reset)))

    def step(self, x: Any) -> None:
        spike = self.get_spike()
        I1, I2, V_th = self.I1.value, self.I2.value, self.V_th.value
        V = self.after_spike(self.V.value, spike, V_th, self.V_reset)
        I1 = I1 + (self.R1 * I1 + self.A1 - I1) * spike
        I2 = I2 + (self.R2 * I2 + self.A2 - I2) * spike
        V_th = V_th + (u.math.maximum(self.V_th_reset, V_th) - V_th) * spike

        def slope(V: u.Quantity) -> u.Quantity:
            return (self.V_rest - V + self.R * (I1 + I2 + self.sum_current_inputs(x, V))) * (1.0 / self.tau)

        def threshold_slope(V_th: u.Quantity) -> u.Quantity:
            return rounded(self.a * (V - self.V_rest)) - self.b * (V_th - self.V_th_inf)

        self.I1.value = self.held(I1, exp_euler_step(lambda I1: -self.k1 * I1, I1))
        self.I2.value = self.held(I2, exp_euler_step(lambda I2: -self.k2 * I2, I2))
        self.V_th.value = self.held(V_th, exp_euler_step(threshold_slope, V_th))
        self.V.value = self.held(V, self.sum_delta_inputs(exp_euler_step(slope, V)))
