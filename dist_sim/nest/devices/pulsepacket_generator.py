from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import numpy as np

from dist_sim.errors import ParameterError
from dist_sim.kernels import exact
from dist_sim.kernels.philox import philox4x32, split_key
from dist_sim.nest.devices.device import TrainGenerator
from dist_sim.nest.devices.settings import Number, Series, Setting
from dist_sim.network.stimulus import COMMON, STIMULUS_STREAMS

_MOST = 10_000_000  # spikes of one generator


@final
class pulsepacket_generator(TrainGenerator):
    """Packets of `activity` spikes around each of `pulse_times` [ms], normally distributed with standard deviation `sdev` [ms],
    the same for all targets; those between `start` and `stop` [ms] (after `origin`) are sent.

    A spike at time t is sent in the step after the one that holds t, as in NEST. Source: Diesmann, Gewaltig & Aertsen (1999),
    doi:10.1038/990101. Checked against NEST 3.10: window, mean and variance.
    """

    parameters: ClassVar[Mapping[str, Setting]] = {
        "pulse_times": Series(unit="ms"),
        "activity": Number(at_least=0.0, at_most=float(_MOST), whole=True),
        "sdev": Number(unit="ms", at_least=0.0),
    }
    pulse_times: list[np.ndarray]
    activity: np.ndarray
    sdev: np.ndarray

    def check(self) -> None:
        most = max(len(pulses) * n for pulses, n in zip(self.pulse_times, self.activity, strict=True))
        if most > _MOST:
            raise ParameterError(f"{self.where('activity')}: {most:,.0f} spikes of one generator; at most {_MOST:,}.")

    def trains(self, seed: int, number: int) -> list[np.ndarray]:
        found = []
        for device in range(self.size):
            pulses, spikes = np.sort(self.pulse_times[device]), np.arange(int(self.activity[device]), dtype=np.uint32)
            times = [np.zeros(0)]
            for pulse, centre in enumerate(pulses):
                purpose, stream = np.uint32(COMMON + pulse), np.uint32(STIMULUS_STREAMS + number)
                words = philox4x32(*split_key(seed), np.uint32(device), spikes, purpose, stream)
                times.append(centre + self.sdev[device] * exact.normal_quantile(words[0]))
            at = np.sort(np.concatenate(times)) / self.resolution + self.origin[device]
            # The step that holds a time ends at the next point of the grid, where the step begins that sends the spike.
            steps = np.ceil(at[at >= self.start[device] - 1e-6] - 1e-6).astype(np.int64)
            found.append(steps[self.within(steps, device)])
        return found
