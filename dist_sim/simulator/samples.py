"""What a simulation takes down besides spikes: samples of meters, and weights; in memory or in a run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from dist_sim.errors import OutputError
from dist_sim.nest.devices import Meter as Described
from dist_sim.nest.neurons.shape import Shape, recordables_of
from dist_sim.partition.mesh import local_part
from dist_sim.run.directory import RunDirectory
from dist_sim.run.recorded import Rows
from dist_sim.run.series import Series
from dist_sim.simulator.assembly import Description, Sampling, sampler_key
from dist_sim.simulator.network import Meter as Sampler
from dist_sim.simulator.network import Network
from dist_sim.simulator.nodes import Node
from dist_sim.simulator.weights import ROW, WatchedSynapses


@final
@dataclass(frozen=True, kw_only=True)
class MeterSamples:
    """What the meters of one call of `create` have sampled, read when it is asked for.

    Attributes:
        parts: rows (samples, recordables, columns), for each model that they sample; order: of all their columns together.
        ids: (columns,) global ids of the neurons; number: (columns,) which of the meters each is of.
        units: recordable -> unit, in the order of the rows.
        first, count: number of the first sample, and how many there are; interval: between them [ms].
    """

    parts: Sequence[Rows]
    order: np.ndarray
    ids: np.ndarray
    number: np.ndarray
    units: Mapping[str, Any]
    first: int
    count: int
    interval: float

    @property
    def times(self) -> np.ndarray:
        """(samples,) ms."""
        return (self.first + np.arange(self.count)) * self.interval

    def read(self) -> np.ndarray:
        """(samples, recordables, columns).

        Raises:
            OutputError: they cannot be read.
        """
        return np.concatenate([rows.read()[: self.count] for rows in self.parts], axis=2)[:, :, self.order]


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
        self._columns = _columns(d, network)
        self._samples = [
            series(f"meter-{k}", m.neurons.dtype, (len(m.names), len(s.ids)), writes=processes.index == 0)
            for k, (s, (m, _)) in enumerate(zip(d.sampled, self._columns, strict=True))
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
        for sampling, (meter, columns), samples in zip(self._d.sampled, self._columns, self._samples, strict=True):
            begin, end = self._rows(sampling, first), self._rows(sampling, last)
            skipped = max(begin + self._before_window(sampling) - first // meter.interval, 0) if end > begin else 0
            samples.append(first, last, local_part(meter.samples.value)[skipped : skipped + end - begin, :, columns])
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

    def so_far(self, step: int) -> dict[str, MeterSamples]:
        """What each meter, by name, has sampled before a step; columns in the order of its connections."""
        parts: dict[Node, list[tuple[Sampling, Rows]]] = {}
        for sampling, samples in zip(self._d.sampled, self._samples, strict=True):
            parts.setdefault(sampling.meter, []).append((sampling, samples.so_far(step)))
        return {node.name: self._of_meter(node, found, step) for node, found in parts.items()}

    def _of_meter(self, node: Node, parts: Sequence[tuple[Sampling, Rows]], step: int) -> MeterSamples:
        device, sampling = _described(node), parts[0][0]
        order = np.argsort(np.concatenate([s.order for s, _ in parts]), kind="stable")
        model = self._d.models[sampling.group]
        known = recordables_of(model, Shape(axes=tuple(self._d.axes_of(model).items())))
        return MeterSamples(
            parts=[rows for _, rows in parts],
            order=order,
            ids=np.concatenate([s.ids for s, _ in parts])[order],
            number=np.concatenate([s.number for s, _ in parts])[order],
            units={name: known[name] for name in device.record_from},
            first=self._before_window(sampling) + 1,
            count=self._rows(sampling, step),
            interval=device.interval * self._d.dt,
        )

    def _before_window(self, sampling: Sampling) -> int:
        """Multiples of the interval that a meter leaves out before its start."""
        device, first = _described(sampling.meter), int(sampling.number[0])
        return int(device.start[first]) // device.interval

    def _rows(self, sampling: Sampling, step: int) -> int:
        """Samples that a meter has taken when `step` is about to begin."""
        device, first = _described(sampling.meter), int(sampling.number[0])
        return max(min(step, int(device.stop[first])) // device.interval - self._before_window(sampling), 0)

    def weights(self, step: int) -> Rows:
        """What the weight_recorders have taken down before a step, and possibly later."""
        return self._weights.so_far(step) if self._weights is not None else Rows(ROW, (), 0)


def _columns(d: Description, network: Network) -> list[tuple[Sampler, slice]]:
    """For each meter of the description, which of the network's has its samples, and where."""
    keys = list(dict.fromkeys(map(sampler_key, d.sampled)))
    of, taken, found = dict(zip(keys, network.meters, strict=True)), dict.fromkeys(keys, 0), []
    for s in d.sampled:
        first = taken[key := sampler_key(s)]
        taken[key] = first + len(s.ids)
        found.append((of[key], slice(first, taken[key])))
    return found


def _described(node: Node) -> Described:
    assert isinstance(node.device, Described)
    return node.device
