from __future__ import annotations

from typing import Any, ClassVar, final

import brainunit as u

from dist_sim.models.exp_euler import exp_euler_step
from dist_sim.models.init import Constant
from dist_sim.models.neurons.integrate_and_fire import IntegrateAndFire
from dist_sim.models.neurons.neuron import InitialValue, SpikeFunction
from dist_sim.models.parameter import Parameter
from dist_sim.models.surrogate import ReluGrad


@final
class CobaLIF(IntegrateAndFire):
    r"""Leaky integrate-and-fire neuron with a synaptic conductance of its own: a LIF, an Expon and a COBA in one.

    .. math:: \tau \dot V = -(V - V_{rest}) + R (g (E - V) + I), \qquad \tau_{syn} \dot g = -g

    Delta inputs arrive at g: a step lets g decay and adds what arrives, then moves V under that g. V is of first order in dt.

    Args: as :class:`LIF`, and
        tau_syn [time] > 0; E [voltage]: reversal potential; g_initializer [conductance]: where g starts.
    States: V [mV], g [S], each (*in_size) or (batch, *in_size).
    Raises: UnitError, ParameterError: a wrong unit, or a bound broken.
    Source: Brette et al. (2007), doi:10.1007/s10827-007-0038-6. Names and defaults are those of brainpy.state 0.1.
    """

    delta_unit: ClassVar[Any] = u.mS
    tau_syn = Parameter(u.ms, positive=True)
    E = Parameter(u.mV)

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        R: Any = 1.0 * u.ohm,
        tau: Any = 5.0 * u.ms,
        tau_syn: Any = 5.0 * u.ms,
        E: Any = 0.0 * u.mV,
        V_th: Any = 1.0 * u.mV,
        V_reset: Any = 0.0 * u.mV,
        V_rest: Any = 0.0 * u.mV,
        V_initializer: InitialValue = Constant(0.0 * u.mV),
        g_initializer: InitialValue = Constant(0.0 * u.siemens),
        spk_fun: SpikeFunction = ReluGrad(),
        spk_reset: str = "soft",
        name: str | None = None,
    ) -> None:
        super().__init__(in_size, R, tau, V_th, V_reset, V_rest, V_initializer, spk_fun, spk_reset, name)
        self.tau_syn, self.E = tau_syn, E
        self.g_initializer = self.initializer("g_initializer", g_initializer, u.siemens)

    def init_state(self, batch_size: int | None = None) -> None:
        super().init_state(batch_size)
        self.g = self.initial(self.g_initializer, u.siemens, batch_size)

    def drift(self, V: u.Quantity) -> u.Quantity:
        return self.V_rest - V

    def step(self, x: Any) -> None:
        spike = self.get_spike()
        g = self.sum_delta_inputs(exp_euler_step(lambda g: -g * (1.0 / self.tau_syn), self.g.value))
        self.g.value = g
        self.V.value = self.moved(spike, lambda V: g * (self.E - V) + self.sum_current_inputs(x, V))
