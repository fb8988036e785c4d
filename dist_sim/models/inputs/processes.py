"""Noisy currents."""

from __future__ import annotations

from typing import Any, final

import brainunit as u
import jax.numpy as jnp

from dist_sim.core import environ
from dist_sim.errors import UnitError
from dist_sim.models.dynamics import Dynamics
from dist_sim.models.init import Constant
from dist_sim.models.inputs.clock import inside, times
from dist_sim.models.inputs.noise import Noise
from dist_sim.models.parameter import Parameter


@final
class WienerProcessInput(Dynamics):
    r"""White noise: at each step another :math:`\sigma \sqrt{\Delta t} \, \xi` with dt in ms and a standard normal number.

    Args:
        in_size: the shape of the population; each element has noise of its own.
        sigma: a number or (*in_size), of any unit: what the increments of 1 ms have as standard deviation.
        duration: [time] >= 0: how long it lasts; 0 after that.
        name: of the Module.
    States: those of the random numbers.
    Raises: UnitError, ParameterError: no time, a shape that does not fit.
    Source: names and defaults are those of brainpy.state 0.1.
    """

    def __init__(self, in_size: int | tuple[int, ...], sigma: Any, duration: Any, name: str | None = None) -> None:
        super().__init__(in_size, name)
        self.sigma = Constant(sigma)
        self.sigma(self.in_size)
        self.duration = times("WienerProcessInput(duration=...)", duration, at_least=0.0)
        self.noise = Noise(self.in_size)

    def update(self) -> Any:
        """What it gives in this step, of the shape (*in_size) or (batch, *in_size)."""
        root = jnp.sqrt(environ.get_dt().to_decimal(u.ms))
        found = self.noise.normal() * root * self.sigma(self.in_size)
        return u.math.where(inside(0.0 * u.ms, self.duration), found, u.math.zeros_like(found))


@final
class OUProcessInput(Dynamics):
    r"""Ornstein-Uhlenbeck noise, exact at any step.

    .. math:: dx = (mean - x) \, dt / \tau + \sigma \, dW

    with time in ms in dW, so that the variance in the long run is :math:`\sigma^2 \tau / 2` with tau in ms.

    Args:
        in_size: the shape of the population; each element has noise of its own.
        mean: a number or (*in_size), of any unit; where x starts.
        sigma: likewise, of that unit.
        tau: [time] > 0, one value or one per element.
        duration: [time] >= 0: how long it lasts; after that x stays, and 0 is given.
        name: of the Module.
    States: x (*in_size) or (batch, *in_size) [that of mean], and those of the random numbers.
    Raises: UnitError, ParameterError: units or shapes that do not fit, a bound above broken.
    Source: Gillespie (1996), doi:10.1103/PhysRevE.54.2084. Names and defaults are those of brainpy.state 0.1, which takes Euler
    steps.
    """

    tau = Parameter(u.ms, positive=True)

    def __init__(
        self, in_size: int | tuple[int, ...], mean: Any, sigma: Any, tau: Any, duration: Any, name: str | None = None
    ) -> None:
        super().__init__(in_size, name)
        if not u.have_same_dim(mean, sigma):
            raise UnitError(f"OUProcessInput(mean={mean}, sigma={sigma}): give both in one unit.")
        self.mean, self.sigma, self.tau = Constant(mean), Constant(sigma), tau
        for given in (self.mean, self.sigma):
            given(self.in_size)
        self.duration = times("OUProcessInput(duration=...)", duration, at_least=0.0)
        self.noise = Noise(self.in_size)

    def init_state(self, batch_size: int | None = None) -> None:
        self.x = self.initial(self.mean, batch_size=batch_size)

    def update(self) -> Any:
        """What it gives in this step, of the shape of x."""
        passed = u.maybe_decimal(environ.get_dt() * (1.0 / self.tau))
        spread = jnp.sqrt(-0.5 * self.tau.to_decimal(u.ms) * jnp.expm1(-2.0 * passed))
        mean, sigma, x = self.mean(self.in_size), self.sigma(self.in_size), self.x.value
        moved = mean + (x - mean) * jnp.exp(-passed) + sigma * spread * self.noise.normal()
        lasts = inside(0.0 * u.ms, self.duration)
        self.x.value = u.math.where(lasts, moved, x)
        return u.math.where(lasts, self.x.value, u.math.zeros_like(x))
