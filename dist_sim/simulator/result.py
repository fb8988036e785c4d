"""What a simulation recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import brainunit as u
import numpy as np

from dist_sim import units
from dist_sim.errors import ConnectError, UnknownNameError
from dist_sim.run.conversion import Convertible, Sampled, Spiked
from dist_sim.run.recorded import Rows, Spikes
from dist_sim.simulator.nodes import NodeView
from dist_sim.simulator.recorders import Recorders
from dist_sim.simulator.samples import MeterSamples


@final
class SimulationResult(Convertible):
    """Spikes and traces from the start of the simulation until now, and its summary: a value, which stays when the simulation
    goes on and can be pickled, with what `create` returned or without. Of a run in a run directory it reads what was recorded
    there when it is asked for it.

    A recorder or meter is given as `create` returned it, or by its name. `to_numpy`, `to_pandas` and `to_neo` take it likewise.

    Attributes:
        summary: the numbers of `summary.json` (rates per population, real-time factor, events, digest, ...).
    """

    def __init__(
        self, recorders: Recorders, spikes: Spikes, generated: tuple[np.ndarray, np.ndarray], meters: Mapping[str, MeterSamples],
        weights: Rows, step: int, summary: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self.summary, self._recorders, self._meters, self._weights = summary, recorders, meters, weights
        self._spikes, self._generated, self._step = spikes, generated, step

    @property
    def digest(self) -> str:
        """SHA-256 of all recorded spikes of neurons, ordered by (step, global id): the same on any placement."""
        return self.summary["digest"]

    def events(self, recorder: NodeView | str) -> Any:
        """Spike times (n,) [ms] and senders (n,), global ids; sorted by time, then id. Of several recorders, what all of them
        recorded; `recorder[1]` is one of them.

        Of a weight_recorder, `WeightEvents`: times, senders, targets, weights and receptors of what its synapses have passed on.

        Raises:
            ConnectError: neither a spike_recorder nor a weight_recorder. OutputError: what was recorded cannot be read.
        """
        name, numbers = self._recorders.find(recorder, "events")
        if name in self._recorders.weights:
            return self._recorders.weights[name].events(self._weights.read(), self._step, numbers)
        if name not in self._recorders.spikes:
            raise ConnectError(f"events({name}): needs a recorder of spikes or weights; for a meter use trace({name}).")
        mine = [part for part in self._recorders.spikes[name] if part.number in numbers]
        counts = [np.bincount(part.ids, minlength=self._recorders.num_ids) for part in mine]

        def often(steps: np.ndarray, ids: np.ndarray) -> np.ndarray:
            found = np.zeros(len(steps), np.int64)
            for part, count in zip(mine, counts, strict=True):
                found += np.where((steps >= part.start) & (steps < part.stop), count[ids], 0)
            return found

        of_neurons, of_generators = self._spikes.those(often), Spikes.of(*self._generated, self._spikes.dt).those(often)
        steps, ids = (np.concatenate(both) for both in zip(of_neurons, of_generators, strict=True))
        if len(of_generators[0]):
            order = np.lexsort((ids, steps))
            steps, ids = steps[order], ids[order]
        # A spike of step n has the time of the end of the step.
        return units.quantity((steps + 1) * self._spikes.dt, "ms"), ids

    def trace(self, meter: NodeView | str, recordable: str = "V_m") -> u.Quantity:
        """Samples (num_samples, num_neurons) of a recordable; columns in the order of the neurons connected.

        Raises:
            ConnectError: not a meter. UnknownNameError: the meter does not record it. OutputError: they cannot be read.
        """
        name, samples, mine = self._meter(meter)
        if recordable not in samples.units:
            raise UnknownNameError("recordable", recordable, samples.units, where=f"trace({name})")
        values = samples.read()[:, list(samples.units).index(recordable)]
        return units.quantity(values if mine.all() else values[:, mine], samples.units[recordable])

    def times(self, meter: NodeView | str) -> u.Quantity:
        """Times (num_samples,) [ms] of the samples of a meter."""
        return units.quantity(self._meter(meter)[1].times, "ms")

    def recorded(self, what: NodeView | str) -> Spiked | Sampled:
        name, numbers = self._recorders.find(what, "result")
        stop = self._step * self._spikes.dt
        if name in self._recorders.weights:
            found = self.events(what)
            columns = {"times": found.times.mantissa, "senders": found.senders, "targets": found.targets}
            columns |= {"weights": found.weights.mantissa, "receptors": found.receptors}
            return Spiked(columns=columns, units={"weights": str(found.weights.unit)}, of=None, stop=stop)
        if name in self._recorders.spikes:
            times, senders = self.events(what)
            of = [part.ids for part in self._recorders.spikes[name] if part.number in numbers]
            of = np.unique(np.concatenate([np.zeros(0, np.int64), *of]))
            return Spiked(columns={"times": np.asarray(times.mantissa), "senders": senders}, units={}, of=of, stop=stop)
        _, samples, mine = self._meter(what)
        rows = samples.read()[:, :, mine]
        return Sampled(
            times=samples.times,
            senders=samples.ids[mine],
            values={recordable: rows[:, k] for k, recordable in enumerate(samples.units)},
            units={recordable: str(unit) for recordable, unit in samples.units.items() if str(unit) != "1"},
        )

    def _meter(self, meter: NodeView | str) -> tuple[str, MeterSamples, np.ndarray]:
        """The name of a meter, its samples, and a flag for each column that is meant."""
        name, numbers = self._recorders.find(meter, "trace")
        if name in self._recorders.spikes or name in self._recorders.weights:
            raise ConnectError(f"trace({name}): needs a voltmeter or multimeter; for spikes use events({name}).")
        if name not in self._meters:
            raise ConnectError(f"trace({name}): it was not connected to any neurons.")
        samples = self._meters[name]
        return name, samples, np.isin(samples.number, numbers)
