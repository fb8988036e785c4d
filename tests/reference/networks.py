"""Three whole networks as descriptions: every number drawn here, nothing left to a simulator's random streams."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import h5py
import nest_microcircuit as pd14
import numpy as np

from reference.description import Current, Description, Population

DT = 0.1  # ms
SONATA = Path(__file__).resolve().parent.parent / "data" / "sonata_300_pointneurons"


def on_grid(milliseconds: np.ndarray) -> np.ndarray:
    """Times at the nearest step of the grid, the first step at the earliest."""
    return np.maximum(np.rint(np.asarray(milliseconds) / DT), 1) * DT


def poisson_trains(rng: np.random.Generator, number: int, rate: float, duration: float) -> tuple[np.ndarray, ...]:
    """Spike trains of `number` independent Poisson processes (spikes/s), on the grid; two spikes may share a step."""
    return tuple(
        on_grid(np.sort(rng.uniform(0, duration, size))) for size in rng.poisson(rate * duration * 1e-3, size=number).tolist()
    )


def brunel(model: str, duration: float = 500.0, seed: int = 1) -> Description:
    """1,000 excitatory and 250 inhibitory neurons with in-degree 125, every synapse with its own weight and delay.

    Autapses and multapses occur. Delays are 0.1 to 3 ms: the shortest and ones longer than t_ref.
    """
    rng = np.random.default_rng(seed)
    exc, inh, generators = 1000, 250, 100
    size = exc + inh
    # About 0.6 mV of membrane potential per spike either way: mV, and pA at the peak of an alpha current.
    unit = 0.6 if model == "iaf_psc_delta" else 100.0
    populations = tuple(
        Population(
            model=model,
            size=n,
            params=dict(
                tau_m=20.0, C_m=250.0, E_L=0.0, V_reset=10.0, V_th=20.0, t_ref=2.0,
                V_m=rng.uniform(0.0, 20.0, n), I_e=rng.uniform(200.0, 260.0, n),
            )
            | ({} if model == "iaf_psc_delta" else dict(tau_syn_ex=0.5, tau_syn_in=0.8)),
        )
        for n in (exc, inh)
    )  # fmt: skip
    per_target = np.repeat(np.arange(size), 125)
    recurrent = np.concatenate([rng.integers(0, exc, (size, 100)), rng.integers(exc, size, (size, 25))], axis=1).ravel()
    external = rng.integers(size, size + generators, (size, 20)).ravel()
    source = np.concatenate([recurrent, external])
    target = np.concatenate([per_target, np.repeat(np.arange(size), 20)])
    mean = np.where((source >= exc) & (source < size), -5.0 * unit, unit)
    return Description(
        populations=populations,
        spike_times=poisson_trains(rng, generators, 40.0, duration),
        source=source,
        target=target,
        weight=mean * np.abs(rng.normal(1.0, 0.2, len(source))),
        delay=on_grid(rng.uniform(0.1, 3.0, len(source))),
        currents=(Current(amplitude=40.0, targets=np.arange(0, size, 3), start=100.0, stop=300.0, delay=1.5),),
        duration=duration,
        dt=DT,
        traced=(0, exc),
    )


def microcircuit(scale: float = 0.02, duration: float = 1500.0, seed: int = 1) -> Description:
    """The Potjans-Diesmann circuit with neurons and in-degrees scaled, each external synapse from one of 400 spike trains.

    The trains have 9 spikes/s in place of 8: at 8, layer 2/3 is all but silent at so small a scale, and says little.
    """
    rng = np.random.default_rng(seed)
    numbers = pd14.circuit(scale, scale, "poisson")
    generators = 400
    first = np.concatenate([[0], np.cumsum(numbers.sizes)])
    populations = tuple(
        Population(model="iaf_psc_exp", size=int(n), params=pd14.NEURON | {"V_m": rng.normal(mean, std, n)})
        for n, mean, std in zip(numbers.sizes, pd14.V0_MEAN, pd14.V0_STD, strict=True)
    )
    source, target, weight, delay = [], [], [], []
    for (i, j), number in np.ndenumerate(numbers.synapses):
        source.append(rng.integers(first[j], first[j + 1], number))
        target.append(rng.integers(first[i], first[i + 1], number))
        weight.append(numbers.weights[i, j] * np.abs(rng.normal(1.0, pd14.WEIGHT_CV, number)))
        delay.append(on_grid(pd14.DELAYS[j] * rng.normal(1.0, pd14.DELAY_CV, number)))
    for i, indegree in enumerate(np.rint(pd14.EXTERNAL_INDEGREES * scale).astype(int)):
        number = numbers.sizes[i] * indegree
        source.append(first[-1] + rng.integers(0, generators, number))
        target.append(np.repeat(np.arange(first[i], first[i + 1]), indegree))
        weight.append(np.full(number, numbers.external_weight))
        delay.append(np.full(number, pd14.EXTERNAL_DELAY))
    return Description(
        populations=populations,
        spike_times=poisson_trains(rng, generators, 9.0, duration),
        source=np.concatenate(source),
        target=np.concatenate(target),
        weight=np.concatenate(weight),
        delay=np.concatenate(delay),
        currents=tuple(
            Current(amplitude=float(dc), targets=np.arange(first[i], first[i + 1]), delay=DT) for i, dc in enumerate(numbers.dc)
        ),
        duration=duration,
        dt=DT,
    )


def sonata(duration: float = 1500.0) -> Description:
    """The 300 iaf_psc_alpha cells of the SONATA examples, with their 27,588 recurrent and 20,844 external synapses.

    The weight of a synapse is `syn_weight` (pA) of the edge file, its delay that of its edge type, 1 ms where there is none. The
    external spike trains are rounded to the grid. Cells start at their E_L.
    """
    components = SONATA.parent / "shared_components" / "nest_models" / "cell_models"
    cell_types = {int(row["node_type_id"]): row for row in table(SONATA / "network" / "internal_node_types.csv")}
    with h5py.File(SONATA / "network" / "internal_nodes.h5") as file:
        type_ids = read(file, "nodes/internal/node_type_id")
    populations = []
    ends = np.append(np.flatnonzero(np.diff(type_ids)) + 1, len(type_ids))
    for begin, end in zip(np.append(0, ends[:-1]), ends, strict=True):
        cell = cell_types[int(type_ids[begin])]
        params = json.loads((components / cell["dynamics_params"]).read_text())
        model = cell["model_template"].removeprefix("nest:")
        populations.append(Population(model=model, size=int(end - begin), params=params | {"V_m": params["E_L"]}))
    with h5py.File(SONATA / "inputs" / "external_spike_trains.h5") as file:
        senders, times = read(file, "spikes/gids"), read(file, "spikes/timestamps")
    source, target, weight, delay = [], [], [], []
    for name, first_source in (("internal_internal", 0), ("external_internal", len(type_ids))):
        types = {int(row["edge_type_id"]): row for row in table(SONATA / "network" / f"{name}_edge_types.csv")}
        with h5py.File(SONATA / "network" / f"{name}_edges.h5") as file:
            edges = f"edges/{name.replace('_', '_to_')}"
            source.append(read(file, f"{edges}/source_node_id").astype(np.int64) + first_source)
            target.append(read(file, f"{edges}/target_node_id").astype(np.int64))
            weight.append(read(file, f"{edges}/0/syn_weight")[read(file, f"{edges}/edge_group_index")])
            delay.append(np.array([float(types[i].get("delay", 1.0)) for i in read(file, f"{edges}/edge_type_id").tolist()]))
    kept = times <= duration
    return Description(
        populations=tuple(populations),
        spike_times=tuple(on_grid(np.sort(times[kept & (senders == sender)])) for sender in range(100)),
        source=np.concatenate(source),
        target=np.concatenate(target),
        weight=np.concatenate(weight),
        delay=on_grid(np.concatenate(delay)),
        duration=duration,
        dt=DT,
        traced=(0, 80, 160, 240, 270),
    )


def table(path: Path) -> list[dict[str, str]]:
    """A SONATA csv file: columns apart by blanks."""
    with path.open() as file:
        return list(csv.DictReader(file, delimiter=" "))


def read(file: h5py.File, path: str) -> np.ndarray:
    """One whole dataset."""
    dataset = file[path]
    assert isinstance(dataset, h5py.Dataset), path
    return dataset[()]
