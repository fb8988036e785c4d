"""Single neurons in NEST and here: the same parameters, spikes and currents on both sides."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import brainunit as u
import numpy as np

import dist_sim as ds
from dist_sim.nest.neurons import NEURONS
from dist_sim.nest.neurons.shape import Shape, default_shape, receptor_of, recordables_of, routes_of, settable
from dist_sim.nest.neurons.shape import receptor_unit as unit_of

# What NEST's GetDefaults names besides the parameters and initial values of a model.
BOOKKEEPING = {
    "Ca", "archiver_length", "available", "beta_Ca", "capacity", "element_type", "elementsize",
    "flush_event_send_interval", "frozen", "global_id", "has_connections", "ignore_and_spike",
    "ignore_and_spike_interval", "ignore_and_spike_offset", "instantiations", "local", "model", "model_id",
    "n_receptors", "n_synapses", "needs_prelim_update", "node_uses_wfr", "post_trace", "receptor_model",
    "receptor_types", "recordables", "recordables_names", "supports_precise_spikes", "synapse_model",
    "synaptic_elements", "t_spike", "tau_Ca", "tau_minus", "tau_minus_triplet", "thread", "thread_local_id", "type_id",
    "vp", "vp_id",
}  # fmt: skip
SPIKES = {"pA": (900.0, -400.0), "nS": (12.0, -6.0), "mV": (9.0, -4.0)}  # weights of both signs that make neurons fire


@dataclass(frozen=True)
class Case:
    """How a model is compared.

    Attributes:
        base: parameters of all neurons, bare numbers in the declared units.
        varied: parameter -> value, where the usual change does not fit; None: it is not varied.
        neurons: more combinations of parameters.
        weights: receptor type -> weights of its spikes; by default of the size that the unit asks for.
        senders: (parameters, spikes that drive it, its synapses) of neurons of the same model: spikes as (receptor type, weight,
            times), synapses to all that are compared as (receptor type, weight, delay).
        current: pA of a step of current between 60 and 90 ms.
        tolerance: of recordables.
        exclude: names of NEST's defaults that are no parameters of ours, and why.
        relative_in_nest: recordables that NEST gives relative to E_L.
        at_random: parameters of neurons that spike at random, for the comparison of our backends.
        silent: spikes come at random, and the parameters are such that none does.
    """

    base: dict[str, Any] = field(default_factory=dict)
    varied: dict[str, Any] = field(default_factory=dict)
    neurons: tuple[dict[str, Any], ...] = ()
    weights: dict[int, tuple[float, ...]] = field(default_factory=dict)
    senders: tuple[tuple[dict[str, float], tuple[Any, ...], tuple[Any, ...]], ...] = ()
    current: float = 500.0
    tolerance: float = 1e-9
    duration: float = 120.0
    exclude: dict[str, str] = field(default_factory=dict)
    recordables: tuple[str, ...] | None = None
    relative_in_nest: tuple[str, ...] = ()
    at_random: tuple[dict[str, Any], ...] = ()
    silent: bool = False


def run_nest(asked: dict[str, Any]) -> dict[str, Any]:
    script = Path(__file__).with_name("nest_neurons.py")
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder) / "asked.pkl", Path(folder) / "given.pkl"
        question.write_bytes(pickle.dumps(asked))
        done = subprocess.run([sys.executable, str(script), str(question), str(answer)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"NEST ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return pickle.loads(answer.read_bytes())


@cache
def nest_defaults(model: str) -> dict[str, Any]:
    return run_nest({"model": model, "dt": 0.1})["defaults"]


def shape_of(model: str, case: Case) -> Shape:
    """With as many entries of each axis of lists as the base has."""
    kind = NEURONS[model]
    counts = dict(default_shape(kind).axes)
    counts |= {kind.parameter_declarations[n].axis: len(v) for n, v in case.base.items() if isinstance(v, tuple)}
    return Shape(axes=tuple(counts.items()))


def changed(name: str, parameter: Any, base: Mapping[str, Any]) -> Any:
    """Another value of a parameter: what a sweep would try next."""
    default = base.get(name, parameter.default)
    if isinstance(default, bool):
        return not default
    if isinstance(default, tuple):
        return tuple(1.3 * x if x else 0.1 for x in default) or None
    if isinstance(default, int):
        return default + 1
    unit = str(parameter.unit)
    if not np.isfinite(default):
        return -72.0 if unit == "mV" else None
    if unit == "mV":
        return default + (1.5 if default <= 0 or abs(default) > 5 else 0.3 * default)
    return 1.4 * default if default else {"pA": 60.0, "nS": 1.0, "ms": 0.3}.get(unit, 0.2)


def variants(model: str, case: Case) -> dict[str, dict[str, Any]]:
    """Name -> parameters of each neuron that is compared: the base, and every parameter changed alone."""
    found = {"base": dict(case.base)}
    for name, parameter in settable(NEURONS[model]).items():
        value = case.varied[name] if name in case.varied else changed(name, parameter, case.base)
        if name != "tau_minus" and value is not None:
            found[name] = {**case.base, name: value}
    return found | {f"extra {k}": {**case.base, **more} for k, more in enumerate(case.neurons)}


def open_ports(model: str, case: Case) -> list[int]:
    """Receptor types that take spikes of anyone, along synapses or not."""
    found = {port: receptor_of(NEURONS[model], port) for port in routes_of(NEURONS[model], shape_of(model, case))}
    return [port for port, receptor in found.items() if receptor.released_by is None and receptor.weights is None]


def stimuli(model: str, case: Case) -> list[tuple[int, float, list[float]]]:
    """Spikes on every receptor that takes them from generators, of both signs where it has them: alone, together, in bursts, at
    the first step."""
    kind, found = NEURONS[model], []
    ports = routes_of(kind, shape_of(model, case))
    for k, port in enumerate(open_ports(model, case)):
        weights = case.weights.get(port, SPIKES.get(str(unit_of(kind, port)), (1.0, -0.5)))
        for n, weight in enumerate(weights):
            times = [0.1] if n == 0 else []
            times += [5.0 + k + 3.0 * n, 5.0 + k + 3.0 * n] if n == 0 else [8.0 + k]
            times += (
                [20.0 + 7 * n + 0.3 * j for j in range(8)] + [31.0 + 0.7 * j + 0.1 * k for j in range(14)]
                if n == 0
                else [24.5, 38.0]
            )
            times += [100.0, 103.0, 104.0 + 0.5 * k] if n == 0 else [101.1]
            found.append((port, float(weight), sorted(round(t, 1) for t in times)))
    for port, weights in case.weights.items():
        if port not in ports:
            found += [(port, float(w), [5.0 + n, 21.0 + n, 33.0 + n]) for n, w in enumerate(weights)]
    return found


def in_units(model: str, params: dict[str, Any]) -> dict[str, Any]:
    known = settable(NEURONS[model])
    return {n: v if isinstance(v, bool) else np.asarray(v) * known[n].unit for n, v in params.items()}


def question(model: str, case: Case, neurons: list[dict[str, Any]]) -> dict[str, Any]:
    """What is asked of NEST and of us."""
    names = case.recordables if case.recordables is not None else tuple(recordables_of(NEURONS[model], shape_of(model, case)))
    return {
        "model": model, "dt": 0.1, "duration": case.duration, "neurons": neurons, "stimuli": stimuli(model, case),
        "senders": case.senders, "currents": [(case.current, 60.0, 90.0)] if case.current else [], "recordables": list(names),
    }  # fmt: skip


@cache
def compared(model: str, case_key: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """(NEST's, ours): steps, senders, traces."""
    case = _CASES[case_key]
    neurons = list(variants(model, case).values())
    asked = question(model, case, neurons)
    theirs, ours = run_nest(asked), run_ours(asked)
    for name in case.relative_in_nest:
        theirs["traces"][name] += [p.get("E_L", settable(NEURONS[model])["E_L"].default) for p in neurons]
    return theirs, ours


def nest_one_bit_away(model: str, case: Case) -> np.ndarray:
    """V_m of NEST itself where every capacitance and time constant is larger by its last bit: what a rounding does to it."""
    known = settable(NEURONS[model])
    names = [n for n, p in known.items() if (n.startswith("tau") or n == "C_m") and "minus" not in n]

    def larger(value: Any) -> Any:
        return tuple(map(larger, value)) if isinstance(value, tuple) else float(np.nextafter(value, np.inf))

    moved = [{**p, **{n: larger(p.get(n, known[n].default)) for n in names}} for p in variants(model, case).values()]
    return run_nest(question(model, case, moved))["traces"]["V_m"]


_CASES: dict[int, Case] = {}


def compare(model: str, case: Case) -> tuple[dict[str, Any], dict[str, Any]]:
    _CASES[id(case)] = case
    return compared(model, id(case))


def run_ours(asked: dict[str, Any], *, precision: int = 64, **options: Any) -> dict[str, Any]:
    model, kind = asked["model"], NEURONS[asked["model"]]
    sim = ds.Simulator(dt=asked["dt"] * u.ms, precision=precision, **options)
    cells = [sim.create(kind, 1, params=in_units(model, params)) for params in asked["neurons"]]
    everyone = sum(cells[1:], start=cells[0])
    for port, weight, times in asked["stimuli"]:
        source = sim.create(ds.spike_generator, spike_times=np.array(times) * u.ms)
        unit = unit_of(kind, port)
        sim.connect(source, everyone, weight=weight * unit, delay=1.0 * u.ms, receptor_type=port)
    for params, driven, to in asked.get("senders", ()):
        cell = sim.create(kind, 1, params=in_units(model, params))
        for port, weight, times in driven:
            source = sim.create(ds.spike_generator, spike_times=np.array(times) * u.ms)
            sim.connect(source, cell, weight=weight * unit_of(kind, port), delay=1.0 * u.ms, receptor_type=port)
        for port, weight, delay, *some in to:
            targets = everyone[some[0]] if some else everyone
            sim.connect(cell, targets, weight=weight * unit_of(kind, port), delay=delay * u.ms, receptor_type=port)
    for amplitude, start, stop in asked["currents"]:
        source = sim.create(ds.dc_generator, amplitude=amplitude * u.pA, start=start * u.ms, stop=stop * u.ms)
        sim.connect(source, everyone, delay=1.0 * u.ms)
    recorder = sim.create(ds.spike_recorder)
    sim.connect(everyone, recorder)
    if asked["recordables"]:
        meter = sim.create(ds.multimeter, record_from=asked["recordables"], interval=asked["dt"] * u.ms)
        sim.connect(meter, everyone)
    res = sim.simulate(asked["duration"] * u.ms)
    times, senders = res.events(recorder)
    traces = {n: np.asarray(u.get_magnitude(res.trace(meter, n)))[:-1] for n in asked["recordables"]}
    return {
        "steps": np.rint(times.to_decimal(u.ms) / asked["dt"]).astype(int),
        "senders": senders - senders.min(initial=0) * 0,
        "traces": traces,
    }
