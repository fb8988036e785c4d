"""Stimulating and recording devices under NEST's names: what a user gives them. What they do is wired up in `build.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import brainunit as u
import numpy as np

from dist_sim import units
from dist_sim.errors import ParameterError, UnknownNameError


class Device:
    """A description of devices; `defaults` names all that may be given."""

    defaults: ClassVar[Mapping[str, Any]]

    def __init__(self, size: int, dt: float, given: Mapping[str, Any]):
        for name in given:
            if name not in self.defaults:
                raise UnknownNameError("parameter", name, self.defaults, where=type(self).__name__)
        self.size, self.dt = size, dt
        self.read({**self.defaults, **given})

    def read(self, given: Mapping[str, Any]) -> None:
        """Checks what is given and keeps it in bare numbers."""

    def where(self, name: str, value: Any) -> str:
        return f"{type(self).__name__}({name}={str(value)[:40]})"

    def per_device(self, given: Mapping[str, Any], name: str, unit: str) -> np.ndarray:
        """(size,) values of a parameter that is one number or one per device."""
        bare = units.magnitude(given[name], unit, self.where(name, given[name]))
        if bare.ndim > 1 or (bare.ndim == 1 and len(bare) != self.size) or not np.isfinite(bare).all():
            raise ParameterError(
                f"{self.where(name, given[name])}: must be one finite number in {unit}, or one per device ({self.size})."
            )
        return np.broadcast_to(bare, (self.size,)).copy()

    def window(self, given: Mapping[str, Any]) -> tuple[int, int]:
        """Steps [start, stop) in which a generator is active, shifted by its origin."""
        origin, start, stop = (
            units.step_of(given[name], self.dt, self.where(name, given[name])) for name in ("origin", "start", "stop")
        )
        if stop < start:
            raise ParameterError(f"{self.where('stop', given['stop'])}: must not lie before start={given['start']}.")
        return origin + start, min(origin + stop, 2**31 - 1)


_WINDOW = {"origin": 0.0 * u.ms, "start": 0.0 * u.ms, "stop": np.inf * u.ms}


@final
class poisson_generator(Device):
    """Poisson spike trains of `rate` [Hz] between `start` and `stop` [ms] (after `origin`): one of its own for every target.

    A train is a function of (seed, target, step), the same on any placement. Several spikes may fall into one step.
    """

    defaults: ClassVar[Mapping[str, Any]] = {"rate": 0.0 * u.Hz, **_WINDOW}

    def read(self, given: Mapping[str, Any]) -> None:
        self.rate = self.per_device(given, "rate", "Hz")
        if (self.rate < 0).any():
            raise ParameterError(f"{self.where('rate', given['rate'])}: a rate must be at least 0 Hz.")
        if (self.rate * self.dt * 1e-3 > 1e6).any():
            raise ParameterError(f"{self.where('rate', given['rate'])}: more than a million spikes per step of {self.dt:g} ms.")
        self.start, self.stop = self.window(given)


@final
class dc_generator(Device):
    """Constant current of `amplitude` [pA] between `start` and `stop` [ms] (after `origin`), times the connection's weight."""

    defaults: ClassVar[Mapping[str, Any]] = {"amplitude": 0.0 * u.pA, **_WINDOW}

    def read(self, given: Mapping[str, Any]) -> None:
        self.amplitude = self.per_device(given, "amplitude", "pA")
        self.start, self.stop = self.window(given)


@final
class spike_generator(Device):
    """Spikes at the given `spike_times` [ms], on the grid, after 0 and in ascending order; equal times send as many spikes.

    `spike_times` is one quantity for all, or a sequence with one quantity per generator.
    """

    defaults: ClassVar[Mapping[str, Any]] = {"spike_times": np.zeros(0) * u.ms}

    def read(self, given: Mapping[str, Any]) -> None:
        trains = given["spike_times"]
        if isinstance(trains, u.Quantity) and trains.ndim <= 1:
            trains = [trains] * self.size
        if not isinstance(trains, Sequence | u.Quantity) or len(trains) != self.size:
            found = len(trains) if hasattr(trains, "__len__") else type(trains).__name__
            raise ParameterError(
                f"spike_generator(spike_times=...): one quantity, or one per generator ({self.size}); got {found}."
            )
        self.steps = [self._steps(train, k) for k, train in enumerate(trains)]

    def _steps(self, train: Any, number: int) -> np.ndarray:
        where = f"spike_generator(spike_times=...) of generator {number}"
        times = units.magnitude(train, "ms", where).reshape(-1)
        if not np.isfinite(times).all():
            raise ParameterError(f"{where}: is infinite. Give finite times.")
        steps = np.floor(times / self.dt + 0.5)
        if (np.abs(times / self.dt - steps) > 1e-3).any():
            off = times[np.abs(times / self.dt - steps) > 1e-3][0]
            raise ParameterError(
                f"{where}: {off:g} ms is not on the grid of dt={self.dt:g} ms. Round the times to multiples of dt."
            )
        if (steps < 1).any():
            raise ParameterError(f"{where}: {times.min():g} ms; the first spike can be at dt={self.dt:g} ms.")
        if (np.diff(steps) < 0).any():
            raise ParameterError(f"{where}: spike times must ascend.")
        # A spike at time t is emitted in the step that ends at t.
        return steps.astype(np.int64) - 1


@final
class spike_recorder(Device):
    """Records all spikes of the neurons and spike generators connected to it: `connect(neurons, recorder)`."""

    defaults: ClassVar[Mapping[str, Any]] = {}


@final
class weight_recorder(Device):
    """Records each spike that synapses pass on, with the weight, once it has arrived at the target:
    `connect(pre, post, synapse=ds.stdp_synapse(weight_recorder=recorder))`.

    `senders` and `targets` (what `create` returned, or global ids): only spikes from and to these; by default all.
    """

    defaults: ClassVar[Mapping[str, Any]] = {"senders": None, "targets": None}

    def read(self, given: Mapping[str, Any]) -> None:
        self.senders, self.targets = (self._ids(name, given[name]) for name in ("senders", "targets"))

    def _ids(self, name: str, value: Any) -> np.ndarray | None:
        if value is None:
            return None
        ids = np.atleast_1d(np.asarray(getattr(value, "ids", value)))
        if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer) or (ids < 0).any():
            raise ParameterError(f"{self.where(name, value)}: neurons are needed, as `create` returns them, or their global ids.")
        return np.unique(ids.astype(np.int64))


class Meter(Device):
    """Samples states of neurons at multiples of `interval` [ms]: `connect(meter, neurons)`."""

    def read(self, given: Mapping[str, Any]) -> None:
        interval = float(self.per_device(given, "interval", "ms")[0])
        self.interval = int(np.floor(interval / self.dt + 0.5))
        if self.interval < 1 or abs(interval / self.dt - self.interval) > 1e-6:
            raise ParameterError(f"{self.where('interval', given['interval'])}: must be a multiple of dt={self.dt:g} ms.")
        names = given["record_from"]
        self.record_from = (names,) if isinstance(names, str) else tuple(names)


@final
class multimeter(Meter):
    """Samples the recordables named in `record_from` every `interval` (1 ms): `connect(meter, neurons)`."""

    defaults: ClassVar[Mapping[str, Any]] = {"record_from": (), "interval": 1.0 * u.ms}


@final
class voltmeter(Meter):
    """Samples V_m every `interval` (1 ms): `connect(meter, neurons)`."""

    defaults: ClassVar[Mapping[str, Any]] = {"record_from": ("V_m",), "interval": 1.0 * u.ms}


DEVICES = {
    d.__name__: d
    for d in (poisson_generator, dc_generator, spike_generator, spike_recorder, weight_recorder, multimeter, voltmeter)
}
