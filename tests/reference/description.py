"""A network as bare numbers in NEST's names and units: whoever runs it, every neuron and synapse is the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Population:
    """Neurons of one model.

    Args:
        model: NEST's name.
        size: number of neurons.
        params: NEST's parameter names to numbers in ms, mV, pA, pF, scalar or one per neuron; `V_m` is the initial value.
    """

    model: str
    size: int
    params: Mapping[str, float | np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Current:
    """One dc_generator.

    Args:
        amplitude: pA.
        targets: global ids of neurons.
        start, stop: ms; `stop=None` never stops.
        delay: ms.
    """

    amplitude: float
    targets: np.ndarray
    start: float = 0.0
    stop: float | None = None
    delay: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Description:
    """Neurons, spike generators, synapses, currents, and what is recorded. All spikes of neurons are.

    Global ids count from 0: the populations in order, then the spike generators.

    Args:
        populations: the neurons.
        spike_times: one array per spike generator, ms on the grid, ascending, above 0; a time may be repeated.
        source, target: global id of each synapse's two ends, (synapses,).
        weight: pA, or mV for iaf_psc_delta, (synapses,).
        delay: ms on the grid, (synapses,).
        plastic: which of `stdp` each synapse is, -1 for a static one, (synapses,); empty: all are static.
        stdp: parameters in NEST's names, in ms and the unit of the weights, of the `synapse_model`, stdp_synapse if none is
            named.
        read: names of variables of the plastic synapses that are read at the end.
        currents: the dc_generators.
        watched: whether the spikes that synapses between neurons pass on are recorded.
        duration, dt: ms.
        traced: global ids of neurons whose `recordables` are sampled at every step.
        recordables: NEST's names: V_m, I_syn_ex, I_syn_in.
    """

    populations: tuple[Population, ...]
    spike_times: tuple[np.ndarray, ...] = ()
    source: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    target: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    weight: np.ndarray = field(default_factory=lambda: np.zeros(0))
    delay: np.ndarray = field(default_factory=lambda: np.zeros(0))
    plastic: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    stdp: tuple[Mapping[str, Any], ...] = ()
    read: tuple[str, ...] = ()
    currents: tuple[Current, ...] = ()
    watched: bool = False
    duration: float
    dt: float = 0.1
    traced: tuple[int, ...] = ()
    recordables: tuple[str, ...] = ("V_m",)

    @property
    def num_neurons(self) -> int:
        return sum(population.size for population in self.populations)

    def of_kind(self, kind: int) -> np.ndarray:
        """(synapses,) whether each is of a kind: -1 static, else the number in `stdp`."""
        return self.plastic == kind if len(self.plastic) else np.full(len(self.source), kind == -1)

    def save(self, path: Path) -> None:
        """One .npz that nest_network.py reads: every array under its own key, the rest as JSON under `header`."""
        arrays: dict[str, np.ndarray] = {name: getattr(self, name) for name in ("source", "target", "weight", "delay")}
        for kind in range(-1, len(self.stdp)):
            arrays[f"kind/{kind}"] = self.of_kind(kind)
        arrays["generator"] = np.repeat(np.arange(len(self.spike_times)), [len(times) for times in self.spike_times])
        arrays["spike_time"] = np.concatenate([np.zeros(0), *self.spike_times])
        for index, current in enumerate(self.currents):
            arrays[f"targets/{index}"] = current.targets
        header = {
            "populations": [(population.model, population.size) for population in self.populations],
            "generators": len(self.spike_times),
            "stdp": [dict(parameters) for parameters in self.stdp],
            "read": self.read,
            "currents": [{k: v for k, v in asdict(current).items() if k != "targets"} for current in self.currents],
            "duration": self.duration,
            "dt": self.dt,
            "watched": self.watched,
            "traced": self.traced,
            "recordables": self.recordables,
        }
        for index, population in enumerate(self.populations):
            for name, value in population.params.items():
                arrays[f"params/{index}/{name}"] = np.broadcast_to(np.asarray(value, np.float64), population.size)
        np.savez(path, header=np.array(json.dumps(header)), **arrays)  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What a run gave.

    Args:
        times: ms, ascending; senders ascend within one time.
        senders: global ids.
        traces: by recordable, (steps, traced): one sample at the end of every step.
        plastic: (plastic synapses, 4 + read) source, target, delay [steps], weight and the variables read at the end, NaN where a
            model has none of this name; rows are sorted.
        passed: (n, 4) step, source, target and weight of what watched synapses have passed on; rows are sorted.
    """

    times: np.ndarray
    senders: np.ndarray
    traces: dict[str, np.ndarray]
    plastic: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    passed: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))

    def rates(self, description: Description) -> np.ndarray:
        """Mean rate of each population, spikes/s."""
        ends = np.cumsum([population.size for population in description.populations])
        counts = np.histogram(self.senders, bins=np.concatenate([[0], ends]))[0]
        return counts / np.diff(ends, prepend=0) / description.duration * 1000.0


def assert_same_spikes(ours: Recording, reference: Recording, dt: float) -> None:
    """Every spike of one is in the other, as often, in the same step."""

    def keys(recording: Recording) -> np.ndarray:
        return np.stack([np.rint(recording.times / dt).astype(np.int64), recording.senders.astype(np.int64)], axis=1)

    a, b = keys(ours), keys(reference)
    if a.shape == b.shape and (a == b).all():
        return
    n = min(len(a), len(b))
    differ = np.flatnonzero((a[:n] != b[:n]).any(axis=1))
    first = int(differ[0]) if len(differ) else n
    raise AssertionError(
        f"{len(a)} spikes against {len(b)} of the reference; spike {first} is the first that differs. (step, sender) from there: "
        f"{a[first : first + 3].tolist()} against {b[first : first + 3].tolist()}."
    )
