from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, final

import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.errors import ParameterError
from dist_sim.nest.devices.device import TrainGenerator
from dist_sim.nest.devices.settings import FOREVER, Flag, Series, Setting, time_steps
from dist_sim.network.stimulus import Targets


@final
class spike_generator(TrainGenerator):
    """Spikes at the given `spike_times` [ms] after `origin`, above 0 and ascending; of those, the ones with start < time <=
    stop. Equal times send as many spikes.

    Times are on the grid; with `allow_offgrid_times` they are rounded up to it, and with `shift_now_spikes` those at 0 go to
    the first step. `spike_weights` multiply the connection's weight at each spike (static synapses only),
    `spike_multiplicities` say how many spikes each stands for. One quantity or list for all generators, or a sequence with one
    for each. Checked against NEST 3.10.
    """

    parameters: ClassVar[Mapping[str, Setting]] = {
        "spike_times": Series(unit="ms"),
        "spike_weights": Series(),
        "spike_multiplicities": Series(),
        "allow_offgrid_times": Flag(),
        "shift_now_spikes": Flag(),
        "precise_times": Flag(),
    }
    fixed: ClassVar[tuple[str, ...]] = ("spike_weights",)
    whole: ClassVar[bool] = False
    relays: ClassVar[bool] = True  # its spikes may be changes of neurons of two states
    spike_times: list[np.ndarray]
    spike_weights: list[np.ndarray]
    spike_multiplicities: list[np.ndarray]
    allow_offgrid_times: bool
    shift_now_spikes: bool
    precise_times: bool

    def check(self) -> None:
        if self.precise_times:
            raise ParameterError(f"{self.where('precise_times')}: spikes are sent on the grid. Use allow_offgrid_times=True.")
        self._steps, self._factors = [], []
        parts = zip(self.spike_times, self.spike_weights, self.spike_multiplicities, strict=True)
        for device, (times, weights, multiplicities) in enumerate(parts):
            where = self.where("spike_times", device)
            for name, given in (("spike_weights", weights), ("spike_multiplicities", multiplicities)):
                if len(given) not in (0, len(times)):
                    raise ParameterError(f"{where}: {len(times)} spikes, {len(given)} {name}. Give one for each, or none.")
            if (multiplicities < 0).any() or (multiplicities != np.floor(multiplicities)).any():
                raise ParameterError(f"{where}: spike_multiplicities must be whole numbers of at least 0.")
            steps = time_steps(times, self.resolution, where, off_grid_allowed=self.allow_offgrid_times)
            if self.shift_now_spikes:
                steps = np.where(steps == 0, 1, steps)
            if (steps < 1).any():
                raise ParameterError(
                    f"{where}: {times.min():g} ms; the first spike can be at dt={self.resolution:g} ms. A spike at 0 ms goes "
                    "there with shift_now_spikes=True."
                )
            if (np.diff(steps) < 0).any():
                raise ParameterError(f"{where}: spike times must ascend.")
            # A spike at time t is sent in the step that ends at t.
            steps = steps - 1 + self.origin[device]
            times_sent = multiplicities.astype(np.int64) if len(multiplicities) else np.ones(len(steps), np.int64)
            factors = weights if len(weights) else np.ones(len(steps))
            sent = np.repeat(self.within(steps, device), times_sent)
            self._steps.append(np.repeat(steps, times_sent)[sent])
            self._factors.append(np.repeat(factors, times_sent)[sent])

    @property
    def by_synapses(self) -> bool:
        return all((factors == 1).all() for factors in self._factors)

    def trains(self, seed: int, number: int) -> list[np.ndarray]:
        return self._steps

    # ---- weights of its own: as factors ----

    def numbers(self) -> Mapping[str, np.ndarray]:
        summed = [np.unique(steps, return_inverse=True) for steps in self._steps]
        longest = max(len(steps) for steps, _ in summed)
        at, factor = np.full((self.size, longest + 1), FOREVER), np.zeros((self.size, longest + 1))
        for device, ((steps, place), factors) in enumerate(zip(summed, self._factors, strict=True)):
            at[device, : len(steps)] = steps
            np.add.at(factor[device], place, factors)
        return {"at": at, "factor": factor}

    def counts(self, p: Mapping[str, Any], step: jax.Array, to: Targets) -> jax.Array:
        place = jnp.minimum((p["at"] < step).sum(axis=1), p["at"].shape[1] - 1)[:, None]
        now = jnp.take_along_axis(p["at"], place, axis=1) == step
        return to.of(jnp.where(now, jnp.take_along_axis(p["factor"], place, axis=1), 0)[:, 0])

    def largest(self) -> np.ndarray:
        return np.abs(self.numbers()["factor"]).max(axis=1)
