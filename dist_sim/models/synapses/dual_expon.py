from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, final

import brainunit as u
import numpy as np

from dist_sim.core.trace import has_tracer
from dist_sim.errors import ParameterError
from dist_sim.models.exp_euler import exp_euler_step
from dist_sim.models.parameter import Parameter
from dist_sim.models.synapses.synapse import AT_REST, Synapse


@final
class DualExpon(Synapse):
    r"""Conductance that rises and decays exponentially after a spike, exact at any step.

    .. math:: \tau_r \dot g_r = -g_r, \qquad \tau_d \dot g_d = -g_d, \qquad g = a \, (g_d - g_r)

    A step first decays, then adds what arrives to both. a is the amplitude; normalized, it is scaled so that one unit that
    arrives gives a conductance with the peak `amplitude`.

    Args: (each but in_size and normalize one value, or one per neuron; a State to change or train it later)
        in_size: number of synapses, or neurons that they are aligned with; or a shape.
        tau_decay, tau_rise [time] > 0. amplitude [1].
        normalize: see above.
        g_initializer: where g_rise and g_decay start; its unit is that of g, which follows the weights if it is left
            out: see :class:`Synapse`.
    States: g_rise, g_decay (*in_size) or (batch, *in_size) [that of g_initializer].
    Raises:
        UnitError, ParameterError: a wrong unit, or a bound above broken.
        ParameterError: equal time constants with normalize: the difference is 0 and has no peak.
    Source: Roth & van Rossum (2009), Modeling synapses, in: Computational Modeling Methods for Neuroscientists. Names and
    defaults are those of brainpy.state 0.1.
    """

    is_align_post: ClassVar[bool] = True
    tau_decay = Parameter(u.ms, positive=True)
    tau_rise = Parameter(u.ms, positive=True)
    amplitude = Parameter(u.UNITLESS)

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        name: str | None = None,
        tau_decay: Any = 10.0 * u.ms,
        tau_rise: Any = 1.0 * u.ms,
        amplitude: Any = 1.0,
        normalize: bool = True,
        g_initializer: Callable[[tuple[int, ...]], Any] | u.Quantity = AT_REST,
    ) -> None:
        super().__init__(in_size, name)
        self.tau_decay, self.tau_rise, self.amplitude = tau_decay, tau_rise, amplitude
        self.normalize = normalize
        self.g_initializer = self.initializer("g_initializer", g_initializer)
        taus = self.tau_decay, self.tau_rise
        if normalize and not has_tracer(taus) and np.any(np.asarray((taus[0] - taus[1]).to_decimal(u.ms)) == 0):
            raise ParameterError(
                "DualExpon(tau_rise=...): equals tau_decay: the difference of the two exponentials is 0 and cannot be "
                "normalized. Use Alpha, their limit."
            )

    def init_state(self, batch_size: int | None = None) -> None:
        self.g_rise = self.initial(self.g_initializer, batch_size=batch_size)
        self.g_decay = self.initial(self.g_initializer, batch_size=batch_size)

    def update(self, x: Any = None) -> Any:
        """One step. Returns g, of the shape of the States; `x`: in the unit of g, or spikes."""
        arrives = self.sum_delta_inputs(u.math.zeros_like(self.g_rise.value))
        arrives = arrives if x is None else arrives + self.arriving(x)
        self.g_rise.value = exp_euler_step(lambda g: -g * (1.0 / self.tau_rise), self.g_rise.value) + arrives
        self.g_decay.value = exp_euler_step(lambda g: -g * (1.0 / self.tau_decay), self.g_decay.value) + arrives
        return self.scale() * (self.g_decay.value - self.g_rise.value)

    def scale(self) -> Any:
        """The factor a."""
        if not self.normalize:
            return self.amplitude
        rise, decay = (tau.to_decimal(u.ms) for tau in (self.tau_rise, self.tau_decay))
        # One over the peak of exp(-t / decay) - exp(-t / rise).
        return self.amplitude * (decay / (decay - rise)) * (rise / decay) ** (rise / (rise - decay))
