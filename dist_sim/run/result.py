"""What a `Run` has recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, final

import brainunit as u
import jax
import numpy as np

from dist_sim import units
from dist_sim.errors import UnknownNameError
from dist_sim.run.conversion import Convertible, Sampled, Spiked
from dist_sim.run.recorded import Rows, Spikes
from dist_sim.run.statistics import Population


@final
class RunResult(Convertible):
    """What a Run has recorded until now: a value, which stays when the Run goes on and can be pickled. Of a run in a run
    directory it reads the spikes and samples there when it is asked for them.

    `to_numpy`, `to_pandas` and `to_neo` take a name of `Run(record=...)`.

    Attributes:
        summary: the numbers of `summary.json`.
    """

    def __init__(
        self, spikes: Spikes, populations: Iterable[Population], traces: Mapping[str, tuple[Rows, Any]], step: int, every: int,
        summary: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self.summary = summary
        self._spikes, self._traces, self._step, self._every = spikes, traces, step, every
        self._populations = {name: (first, size) for name, first, size in populations}

    @property
    def digest(self) -> str:
        """SHA-256 of all recorded spikes, ordered by (step, neuron): the same on any devices."""
        return self.summary["digest"]

    def events(self, name: str) -> tuple[u.Quantity, np.ndarray]:
        """Spike times (n,) [ms], ends of steps, and neurons (n,), places in the recorded array; sorted by time, then neuron.

        Raises:
            UnknownNameError: no spikes of that name are recorded. OutputError: they cannot be read.
        """
        if name not in self._populations:
            raise UnknownNameError("recorded spikes", name, self._populations, where="Run.events")
        first, size = self._populations[name]
        steps, ids = self._spikes.those(lambda _, ids: (ids >= first) & (ids < first + size))
        return units.quantity((steps + 1) * self._spikes.dt, "ms"), ids - first

    def trace(self, name: str) -> Any:
        """Samples (num_samples, ...) of what a function gave, with its unit.

        Raises:
            UnknownNameError: nothing of that name is sampled. OutputError: they cannot be read.
        """
        if name not in self._traces:
            raise UnknownNameError("trace", name, self._traces, where="Run.trace")
        rows, of_one = self._traces[name]
        return jax.tree.unflatten(jax.tree.structure(of_one), [rows.read()[: self._samples]])

    @property
    def times(self) -> u.Quantity:
        """Times (num_samples,) [ms] of the samples, ends of steps."""
        return units.quantity((1 + np.arange(self._samples)) * self._every * self._spikes.dt, "ms")

    def recorded(self, what: str) -> Spiked | Sampled:
        if what in self._populations:
            times, senders = self.events(what)
            columns = {"times": np.asarray(times.mantissa), "senders": senders}
            of = np.arange(self._populations[what][1])
            return Spiked(columns=columns, units={}, of=of, stop=self._step * self._spikes.dt)
        if what not in self._traces:
            raise UnknownNameError("record", what, [*self._populations, *self._traces], where="RunResult")
        (values,), unit = jax.tree.leaves(trace := self.trace(what)), str(getattr(trace, "unit", ""))
        values = np.asarray(values).reshape(self._samples, -1)
        times, senders = np.asarray(self.times.mantissa), np.arange(values.shape[1])
        return Sampled(times=times, senders=senders, values={what: values}, units={what: unit} if unit not in ("", "1") else {})

    @property
    def _samples(self) -> int:
        return self._step // self._every
