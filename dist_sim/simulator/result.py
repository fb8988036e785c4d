"""What a simulation recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import brainunit as u
import numpy as np

from dist_sim import units
from dist_sim.errors import ConnectError, UnknownNameError
from dist_sim.nest.devices import Meter, spike_recorder
from dist_sim.run.recording import Recording
from dist_sim.simulator.nodes import Node, NodeView
from dist_sim.simulator.weights import WeightEvents


@final
class SimulationResult:
    """Spikes and traces since the start of the simulation, and its summary.

    Attributes:
        summary: the numbers of `summary.json` (rates per population, real-time factor, events, digest, ...).
    """

    def __init__(
        self, recording: Recording, recorded: Mapping[Node, np.ndarray], generated: tuple[np.ndarray, np.ndarray],
        traces: Mapping[Node, tuple[np.ndarray, Mapping[str, Any]]], weights: Mapping[Node, Callable[[], WeightEvents]],
        dt: float, summary: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self.summary, self._weights = summary, weights
        self._recording, self._recorded, self._generated, self._traces, self._dt = recording, recorded, generated, traces, dt

    @property
    def digest(self) -> str:
        """SHA-256 of all recorded spikes of neurons, ordered by (step, global id): the same on any placement."""
        return self.summary["digest"]

    def events(self, recorder: NodeView) -> Any:
        """Spike times (n,) [ms] and senders (n,), global ids; sorted by time, then id.

        Of a weight_recorder, `WeightEvents`: times, senders, targets, weights and receptors of what its synapses have passed on.

        Raises:
            ConnectError: neither a spike_recorder nor a weight_recorder. OutputError: what was recorded cannot be read.
        """
        if recorder.node in self._weights:
            return self._weights[recorder.node]()
        if recorder.node.model is not spike_recorder:
            raise ConnectError(
                f"events({recorder.name}): needs a recorder of spikes or weights; for a meter use trace({recorder.name})."
            )
        wanted = self._recorded[recorder.node]
        steps, ids = (
            np.concatenate([a, b]) for a, b in zip((self._recording.steps, self._recording.ids), self._generated, strict=True)
        )
        chosen = wanted[ids]
        steps, ids = steps[chosen], ids[chosen]
        order = np.lexsort((ids, steps))
        # A spike of step n has the time of the end of the step.
        return units.quantity((steps[order] + 1) * self._dt, "ms"), ids[order]

    def trace(self, meter: NodeView, recordable: str = "V_m") -> u.Quantity:
        """Samples (num_samples, num_neurons) of a recordable; columns in the order of the neurons connected.

        Raises:
            ConnectError: not a meter. UnknownNameError: the meter does not record it.
        """
        _, samples = self._meter(meter)
        if recordable not in samples:
            raise UnknownNameError("recordable", recordable, samples, where=f"trace({meter.name})")
        return samples[recordable]

    def times(self, meter: NodeView) -> u.Quantity:
        """Times (num_samples,) [ms] of the samples of a meter."""
        return units.quantity(self._meter(meter)[0], "ms")

    def _meter(self, meter: NodeView) -> tuple[np.ndarray, Mapping[str, Any]]:
        if not issubclass(meter.node.model, Meter):
            raise ConnectError(f"trace({meter.name}): needs a voltmeter or multimeter; for spikes use events({meter.name}).")
        return self._traces[meter.node]
