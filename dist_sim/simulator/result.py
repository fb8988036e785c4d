"""What a simulation recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import brainunit as u
import numpy as np

from dist_sim import units
from dist_sim.errors import ConnectError, UnknownNameError
from dist_sim.nest.devices import Meter, SpikeRecorder
from dist_sim.nest.devices.settings import FOREVER
from dist_sim.run.recording import Recording
from dist_sim.simulator.assembly import Description
from dist_sim.simulator.nodes import Node, NodeView
from dist_sim.simulator.samples import Trace
from dist_sim.simulator.weights import WeightEvents

ALWAYS = (0, FOREVER)  # steps


@final
class SimulationResult:
    """Spikes and traces from the start of the simulation until now, and its summary. They stay when it goes on.

    Attributes:
        summary: the numbers of `summary.json` (rates per population, real-time factor, events, digest, ...).
    """

    def __init__(
        self, recording: Recording, recorded: Mapping[Node, Sequence[tuple[int, np.ndarray]]],
        generated: tuple[np.ndarray, np.ndarray], traces: Mapping[Node, Trace],
        weights: Mapping[Node, Callable[[np.ndarray], WeightEvents]], num_ids: int, dt: float, summary: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self.summary, self._weights = summary, weights
        self._recording, self._recorded, self._generated, self._traces, self._dt = recording, recorded, generated, traces, dt
        self._num_ids = num_ids
        self._until = recording.spikes  # later ones are of a run that has gone on

    @property
    def digest(self) -> str:
        """SHA-256 of all recorded spikes of neurons, ordered by (step, global id): the same on any placement."""
        return self.summary["digest"]

    def events(self, recorder: NodeView) -> Any:
        """Spike times (n,) [ms] and senders (n,), global ids; sorted by time, then id. Of several recorders, what all of them
        recorded; `recorder[1]` is one of them.

        Of a weight_recorder, `WeightEvents`: times, senders, targets, weights and receptors of what its synapses have passed on.

        Raises:
            ConnectError: neither a spike_recorder nor a weight_recorder. OutputError: what was recorded cannot be read.
        """
        device = recorder.node.device
        if recorder.node in self._weights:
            return self._weights[recorder.node](recorder.ids)
        if not isinstance(device, SpikeRecorder):
            raise ConnectError(
                f"events({recorder.name}): needs a recorder of spikes or weights; for a meter use trace({recorder.name})."
            )
        of_neurons = self._recording.steps[: self._until], self._recording.ids[: self._until]
        steps, ids = (np.concatenate([a, b]) for a, b in zip(of_neurons, self._generated, strict=True))
        times = np.zeros(len(steps), np.int64)  # that each is recorded
        for number, sources in self._recorded.get(recorder.node, ()):
            if number in recorder.ids:
                often = np.bincount(sources, minlength=self._num_ids)[ids]
                times += np.where((steps >= device.start[number]) & (steps < device.stop[number]), often, 0)
        steps, ids = np.repeat(steps, times), np.repeat(ids, times)
        order = np.lexsort((ids, steps))
        # A spike of step n has the time of the end of the step.
        return units.quantity((steps[order] + 1) * self._dt, "ms"), ids[order]

    def trace(self, meter: NodeView, recordable: str = "V_m") -> u.Quantity:
        """Samples (num_samples, num_neurons) of a recordable; columns in the order of the neurons connected.

        Raises:
            ConnectError: not a meter. UnknownNameError: the meter does not record it.
        """
        trace = self._meter(meter)
        if recordable not in trace.samples:
            raise UnknownNameError("recordable", recordable, trace.samples, where=f"trace({meter.name})")
        samples = trace.samples[recordable]
        mine = np.isin(trace.number, meter.ids)
        return samples if mine.all() else samples[:, mine]

    def times(self, meter: NodeView) -> u.Quantity:
        """Times (num_samples,) [ms] of the samples of a meter."""
        return units.quantity(self._meter(meter).times, "ms")

    def _meter(self, meter: NodeView) -> Trace:
        if not issubclass(meter.node.model, Meter):
            raise ConnectError(f"trace({meter.name}): needs a voltmeter or multimeter; for spikes use events({meter.name}).")
        if meter.node not in self._traces:
            raise ConnectError(f"trace({meter.name}): it was not connected to any neurons.")
        return self._traces[meter.node]


def recorded_in(d: Description) -> dict[tuple[int, int], np.ndarray]:
    """For each window [first step, last) of the recorders, and for all of time, a flag for each global id that one of them
    records."""
    flags: dict[tuple[int, int], np.ndarray] = {ALWAYS: np.zeros(d.num_ids, dtype=bool)}
    for node, parts in d.recorded.items():
        device = node.device
        assert isinstance(device, SpikeRecorder)
        for number, ids in parts:
            window = int(device.start[number]), int(device.stop[number])
            if window[0] < window[1]:
                flags.setdefault(window, np.zeros(d.num_ids, dtype=bool))[ids] = True
    return flags
