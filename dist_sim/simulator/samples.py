"""What a simulation takes down besides spikes: samples of meters, and weights; in memory or in a run directory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, final

import brainunit as u
import numpy as np

from dist_sim import units
from dist_sim.errors import OutputError
from dist_sim.nest.devices import weight_recorder
from dist_sim.nest.neurons.text import recordables_of
from dist_sim.partition.mesh import local_part
from dist_sim.run.directory import RunDirectory
from dist_sim.run.series import Series
from dist_sim.simulator.assembly import Description
from dist_sim.simulator.network import Network
from dist_sim.simulator.nodes import Node
from dist_sim.simulator.weights import ROW, WatchedSynapses, WeightEvents


@final
class Samples:
    """Samples and weights of one recording.

    Args:
        directory: whose segments hold them, or None to keep them in memory.
        begin: in a run that is resumed, the step from which on it goes on.

    Raises:
        OutputError: they cannot be written or read back.
    """

    def __init__(self, d: Description, network: Network, directory: RunDirectory | None, begin: int):
        self._d, self._network, processes = d, network, network.projection.processes
        folder = None if directory is None else directory.next_samples_folder()
        options: dict[str, Any] = {"dt": d.dt, "resumed": directory is not None and directory.resumed, "begin": begin}

        def series(name: str, *of_row: Any, **more: Any) -> Series:
            return Series(folder and folder / name, *of_row, **options, **more)

        # All processes have all samples, and one writes them; weights are where the synapses are.
        self._samples = [
            series(f"meter-{k}", m.neurons.dtype, m.samples.value.shape[1:], writes=processes.index == 0)
            for k, m in enumerate(network.meters)
        ]
        self._watched = WatchedSynapses(d, network)
        self._weights = series("weights", ROW, processes=processes) if self._watched.any else None
        self._before = [s.count(begin) for s in self._series]

    @property
    def _series(self) -> list[Series]:
        return [*self._samples, *([self._weights] if self._weights is not None else [])]

    def collect(self, first: int, last: int, steps: np.ndarray, ids: np.ndarray) -> None:
        """Takes in a chunk.

        Args:
            steps, ids: spikes of this process's neurons and of all generators in [first, last).
        """
        for meter, samples in zip(self._network.meters, self._samples, strict=True):
            samples.append(first, last, local_part(meter.samples.value)[: meter.complete(first, last)])
        if self._weights is not None:
            self._weights.append(first, last, self._watched.rows(steps, ids))

    def sync(self) -> None:
        """Return when all is on the disk."""
        for series in self._series:
            series.sync()

    def close(self) -> None:
        """Flush to the disk and close the files. A later chunk goes on."""
        for series in self._series:
            series.close()

    def counts(self) -> list[int]:
        """How many rows of each kind have been taken down, by all processes: all of them call it."""
        of_all = [series.appended for series in self._samples]
        if self._weights is not None:
            of_all.append(int(self._network.projection.processes.total(np.array([self._weights.appended], np.int64))[0]))
        return [n + before for n, before in zip(of_all, self._before, strict=True)]

    def check(self, counts: Sequence[int], step: int) -> None:
        """Whether what was taken down before a checkpoint is still there.

        Raises:
            OutputError: it is not.
        """
        if (found := self._before) != list(counts):
            raise OutputError(
                f"{found} samples and weights were taken down before step {step}, and {counts} when the checkpoint was taken: "
                "files were changed or lost. Bring them back from a copy."
            )

    def traces(self, step: int) -> dict[Node, tuple[np.ndarray, dict[str, u.Quantity]]]:
        """Times [ms] and samples of each meter before a step."""
        traces: dict[Node, tuple[np.ndarray, dict[str, u.Quantity]]] = {}
        for sampling, meter, samples in zip(self._d.sampled, self._network.meters, self._samples, strict=True):
            taken = samples.rows(step)[: step // meter.interval]
            times = (np.arange(len(taken)) + 1) * meter.interval * self._d.dt
            known = recordables_of(meter.neurons.model, meter.neurons.shape)
            found = {name: units.quantity(taken[:, k], known[name]) for k, name in enumerate(meter.names)}
            if sampling.meter in traces:
                found = {
                    name: u.math.concatenate([traces[sampling.meter][1][name], value], axis=1) for name, value in found.items()
                }
            traces[sampling.meter] = times, found
        return traces

    def weights(self, step: int) -> dict[Node, partial[WeightEvents]]:
        """For each weight_recorder, what gives its events before a step."""
        series = self._weights
        rows = series.rows if series is not None else lambda _: np.zeros(0, ROW)
        return {node: partial(self._watched.events, node, rows, step) for node in self._d.nodes_of(weight_recorder)}
