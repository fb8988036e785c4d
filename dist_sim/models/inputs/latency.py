from __future__ import annotations

from typing import Any, final

import brainunit as u
import jax
import jax.numpy as jnp

from dist_sim import units
from dist_sim.core import environ
from dist_sim.errors import ParameterError

METHODS = ("linear", "log")


@final
class LatencyEncoder:
    r"""One spike for each number, the earlier the larger it is.

    A number x, usually from 0 to 1, spikes at

    .. math:: t_{first} + (\tau - t_{first} - \Delta t) \, \ln \frac{x}{x - \theta} \quad (\text{log}), \qquad
        t_{first} + (\tau - t_{first} - \Delta t) (1 - x) \quad (\text{linear}),

    or not at all where that is not within the time encoded.

    Args:
        min_val, max_val: are taken as 0 and 1, where both are given.
        method: "log" or "linear".
        threshold: theta > 0. For "log", a number at it or below counts as just above it.
        clip: numbers below the threshold do not spike.
        tau: [time] see above, and the time encoded where none is given.
        normalize: the time encoded takes the place of tau.
        first_spk_time: [time].
        epsilon: how far above the threshold a number is kept.

    Raises:
        ParameterError: another method, a threshold that is not above 0.
        UnitError: tau or first_spk_time that is no time.
    Source: Bohte, Kok & La Poutre (2002), doi:10.1016/S0925-2312(01)00658-0. Names and defaults are those of braintools 0.3.
    """

    def __init__(
        self,
        min_val: float | None = None,
        max_val: float | None = None,
        method: str = "log",
        threshold: float = 0.01,
        clip: bool = False,
        tau: Any = 1.0 * u.ms,
        normalize: bool = False,
        first_spk_time: Any = 0.0 * u.ms,
        epsilon: float = 1e-7,
    ) -> None:
        if method not in METHODS:
            raise ParameterError(f"LatencyEncoder(method={method!r}): allowed are {' and '.join(map(repr, METHODS))}.")
        if not 0 < threshold:
            raise ParameterError(f"LatencyEncoder(threshold={threshold}): must be above 0.")
        self.min_val, self.max_val, self.method, self.threshold = min_val, max_val, method, threshold
        self.clip, self.normalize, self.epsilon = clip, normalize, epsilon
        self.tau = float(units.magnitude(tau, "ms", "LatencyEncoder(tau=...)"))
        self.first = float(units.magnitude(first_spk_time, "ms", "LatencyEncoder(first_spk_time=...)"))

    def __call__(self, data: Any, n_time: Any = None) -> jax.Array:
        """Spikes (steps, *shape of data) as 0. and 1.

        Args:
            data: numbers without unit.
            n_time: [time] encoded; by default tau.
        """
        dt = float(environ.get_dt().to_decimal(u.ms))
        time = self.tau if n_time is None else float(units.magnitude(n_time, "ms", "LatencyEncoder(n_time=...)"))
        x = data = jnp.asarray(data, float)
        if self.min_val is not None and self.max_val is not None:
            x = (x - self.min_val) / (self.max_val - self.min_val)
        if self.method == "log":
            x = jnp.maximum(x, self.threshold + self.epsilon)
            late = jnp.log(x / (x - self.threshold))
        else:
            late = 1 - x
        spread = (time if self.normalize else self.tau) - self.first - dt
        step = jnp.round((self.first + spread * late) / dt)
        steps = int(units.steps_of(time, dt))
        # Whole numbers of floats: what is infinite is at no step.
        step = jnp.where(self.clip & (data < self.threshold), steps, jnp.minimum(step, steps)).astype(jnp.int32)
        return jax.nn.one_hot(step, steps, axis=0, dtype=data.dtype)
