"""Adaptation by a current, for integrate-and-fire models."""

from __future__ import annotations

from typing import Any, ClassVar

import brainunit as u

from dist_sim.core import HiddenState
from dist_sim.models.exp_euler import exp_euler_step
from dist_sim.models.neurons.integrate_and_fire import IntegrateAndFire
from dist_sim.models.neurons.neuron import InitialValue
from dist_sim.models.parameter import Parameter


class Adaptive(IntegrateAndFire):
    r"""What a membrane with an adaptation current w has before it: `class AdExIF(Adaptive, ExponentialMembrane)`.

    .. math:: \tau_w \dot w = a (V - V_{rest}) - w, \qquad \text{at a spike } w := w + b

    A step moves V under the w before it, then w under the V after it: of first order in dt.

    Attributes:
        adapts_while_refractory: w goes on while a refractory form holds V, rather than being held with it.
    """

    adapts_while_refractory: ClassVar[bool]
    tau_w = Parameter(u.ms, positive=True)
    a = Parameter(u.siemens)
    b = Parameter(u.mA)
    w: HiddenState

    def adapt(self, tau_w: Any, a: Any, b: Any, w_initializer: InitialValue) -> None:
        """Takes the parameters of w: to be called by `__init__`."""
        self.tau_w, self.a, self.b = tau_w, a, b
        self.w_initializer = self.initializer("w_initializer", w_initializer, u.mA)

    def init_state(self, batch_size: int | None = None) -> None:
        super().init_state(batch_size)
        self.w = self.initial(self.w_initializer, u.mA, batch_size)

    def step(self, x: Any) -> None:
        spike = self.get_spike()
        w = self.w.value + self.b * spike
        V = self.moved(spike, lambda V: self.sum_current_inputs(x, V) - w)
        moved = exp_euler_step(lambda w: (self.a * (V - self.V_rest) - w) * (1.0 / self.tau_w), w)
        self.V.value = V
        self.w.value = moved if self.adapts_while_refractory else self.held(w, moved)
