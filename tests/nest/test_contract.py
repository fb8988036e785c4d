"""Laws that every neuron model obeys: how it is computed and placed changes nothing, and what makes no sense is refused.

All models run in one network, so that few programs are compiled.
"""

from __future__ import annotations

import functools
from contextlib import nullcontext
from typing import Any

import brainunit as u
import numpy as np
import pytest
from reference.compiled import hastily
from reference.neuron_cases import CASES
from reference.neurons import SPIKES, Case, in_units, open_ports, shape_of
from run.checkpointed import StopAt

import dist_sim as ds
from dist_sim.errors import ConnectError, ParameterError, UnitError
from dist_sim.nest.declared import Parameter
from dist_sim.nest.neurons import NEURONS
from dist_sim.nest.neurons.shape import receptor_of, receptor_types, recordables_of, settable
from dist_sim.run.checkpoint import CheckpointPolicy
from dist_sim.run.directory import RunDirectory
from dist_sim.run.session import Session
from dist_sim.run.stop import Stopped

SIZE, DURATION, CHUNK = 9, 30.0, 3.7
ALL = tuple(NEURONS)
# Two parameters that NEST, or reason, wants in another order or together, and words of the refusal.
RELATIONS: dict[str, list[tuple[dict[str, Any], str]]] = {
    "ht_neuron": [
        *(({f"tau_rise_{x}": 300.0}, f"tau_rise_{x} must be below tau_decay_{x}=") for x in ("AMPA", "NMDA", "GABA_A", "GABA_B")),
        ({"tau_Mg_fast_NMDA": 22.7}, "tau_Mg_fast_NMDA must be below tau_Mg_slow_NMDA="),
    ],
    "iaf_bw_2001": [({"tau_rise_NMDA": 100.0}, "tau_rise_NMDA must be below tau_decay_NMDA=")],
    "iaf_psc_exp_htum": [({"t_ref_abs": 3.0, "t_ref_tot": 2.0}, "t_ref_tot .*t_ref_abs=")],
    "izhikevich": [({"c": 30.0}, "c must be below V_th=")],
    **{
        name: [({"adapting_threshold": True}, "adapting_threshold=True.*spike_dependent_threshold")]
        for name in ("glif_cond", "glif_psc", "glif_psc_double_alpha")
    },
    **{
        name: [
            ({"V_reset": 0.0}, "V_reset must be below V_peak="),
            ({"V_peak": -55.0}, "V_peak must be at least V_th="),
            ({"Delta_T": 0.01}, "Delta_T"),
        ]
        for name in NEURONS
        if name.startswith("aeif")
    },
}


def case_of(model: str) -> Case:
    return CASES.get(model, Case())


def ports_of(model: str) -> dict[int, tuple[float, ...]]:
    """Receptor type -> weights, as bare numbers, that make its neurons fire."""
    kind, case = NEURONS[model], case_of(model)
    return {p: case.weights.get(p, SPIKES.get(str(receptor_of(kind, p).unit), (1.0, -0.5))) for p in open_ports(model, case)}


def everything(models: tuple[str, ...] = ALL, **options: Any) -> tuple[ds.Simulator, dict[str, Any], dict[str, Any]]:
    """A network of these models, with the recorder of each and its meter: noise on every receptor, a current, and a chain of
    populations whose spikes reach the next model, if it takes them."""
    sim = ds.Simulator(dt=0.1 * u.ms, **({"seed": 3, "precision": 64} | options))
    cells, recorders, meters = {}, {}, {}
    for model in models:
        kind, case = NEURONS[model], case_of(model)
        cells[model] = sim.create(kind, SIZE, params=in_units(model, case.base))
        recorders[model] = sim.create(ds.spike_recorder)
        sim.connect(cells[model], recorders[model])
        if names := tuple(recordables_of(kind, shape_of(model, case))):
            meters[model] = sim.create(ds.multimeter, record_from=names, interval=0.5 * u.ms)
            sim.connect(meters[model], cells[model])
        for port, weights in ports_of(model).items():
            unit = receptor_of(kind, port).unit
            for k, weight in enumerate(weights):
                noise = sim.create(ds.poisson_generator, rate=(350.0 if k == 0 else 120.0) * u.Hz)
                if kind.binary:
                    relay = sim.create(ds.parrot_neuron, SIZE)
                    sim.connect(noise, relay, delay=0.1 * u.ms)
                    sim.connect(relay, cells[model], "one_to_one", weight=weight * unit, delay=0.1 * u.ms, receptor_type=port)
                else:
                    sim.connect(noise, cells[model], weight=weight * unit, delay=0.1 * u.ms, receptor_type=port)
        if case.current and kind.current_ports:
            current = sim.create(ds.dc_generator, amplitude=case.current * u.pA, start=12 * u.ms, stop=20 * u.ms)
            sim.connect(current, cells[model][::2])
    delay = ds.dist.Uniform(0.3 * u.ms, 2.0 * u.ms)
    for source, model in zip(models, [*models[1:], models[0]], strict=True):
        if NEURONS[source].binary != NEURONS[model].binary and "parrot_neuron" not in (source, model):
            source = model
        for port, weights in ports_of(model).items():
            weight = 0.3 * weights[0] * receptor_of(NEURONS[model], port).unit
            sim.connect(cells[source], cells[model], rule=ds.fixed_indegree(3), weight=weight, delay=delay, receptor_type=port)
        for _, _, synapses in case_of(model).senders:
            for port, weight, _ in synapses:
                released = dict(weight=weight * receptor_of(NEURONS[model], port).unit, delay=delay, receptor_type=port)
                sim.connect(cells[model], cells[model], rule=ds.fixed_indegree(3), **released)
    return sim, recorders, meters


Recorded = dict[str, tuple[bytes, dict[str, np.ndarray]]]


def recorded(sim: Any, recorders: dict[str, Any], meters: dict[str, Any], result: Any) -> Recorded:
    """Of each model the spikes and the traces."""
    found = {}
    for model, recorder in recorders.items():
        times, senders = result.events(recorder)
        steps = np.rint(times.to_decimal(u.ms) * 10).astype(np.int64)
        names = recordables_of(NEURONS[model], shape_of(model, case_of(model))) if model in meters else ()
        traces = {n: np.asarray(u.get_magnitude(result.trace(meters[model], n))) for n in names}
        found[model] = (np.stack([steps, senders]).tobytes(), traces)
    return found


@functools.cache
def run(devices: int = 1, chunk: float | None = None, **options: Any) -> Recorded:
    sim, recorders, meters = everything(devices=devices, chunk=None if chunk is None else chunk * u.ms, **options)
    with hastily() if options.get("backend") == "reference" else nullcontext():
        return recorded(sim, recorders, meters, sim.simulate(DURATION * u.ms))


def assert_same(found: Recorded, wanted: Recorded) -> None:
    assert {m for m in wanted if found[m][0] != wanted[m][0]} == set(), "other spikes"
    other = {
        (m, n) for m in wanted for n, trace in wanted[m][1].items() if not np.array_equal(found[m][1][n], trace, equal_nan=True)
    }
    assert other == set(), "other traces"


def test_the_models_fire():
    silent = {m for m, (spikes, _) in run().items() if not spikes and not case_of(m).silent}
    assert silent == set(), "a silent neuron proves nothing"


@pytest.mark.timeout(900)  # XLA compiles all models in one program: minutes on a busy machine
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"precision": 32, "models": tuple(m for m in NEURONS if m not in CASES)},  # the others: test_neurons.py
        pytest.param({"precision": 32}, marks=pytest.mark.slow),
    ],
    ids=["64", "32, some", "32"],
)
def test_backends_give_the_same_bits(options):
    wanted = run(**options)
    assert_same(run(backend="reference", **options), wanted)
    assert [m for m, (spikes, _) in wanted.items() if not spikes and not case_of(m).silent] == []


@pytest.mark.parametrize(("devices", "chunk"), [(2, 0.7), (3, 4.0), (8, None)])
def test_placement_changes_nothing(devices, chunk):
    assert_same(run(devices, chunk, placement="round_robin" if devices == 3 else "block"), run())


def test_a_checkpoint_goes_on_on_other_devices(tmp_path):
    def go(directory: RunDirectory, devices: int, chunks: int) -> Recorded | None:
        policy = CheckpointPolicy(every=0.0, keep_last=2)
        session: Any = Session(directory=directory, checkpoints=policy, stop=StopAt(chunks))  # pyright: ignore
        with session.active():
            sim, recorders, meters = everything(devices=devices, chunk=CHUNK * u.ms)
            try:
                return recorded(sim, recorders, meters, sim.simulate(DURATION * u.ms))
            except Stopped:
                return None
            finally:
                directory.close()

    assert go(RunDirectory(tmp_path / "run"), 2, 4) is None
    found = go(RunDirectory.resume(tmp_path / "run"), 3, 10**9)
    assert found is not None
    assert_same(found, run())


# ---- what is refused ----


def create(model: str, name: str, value: Any, parameter: Parameter) -> None:
    given = {name: value}
    # Lists of one axis belong together.
    sim, known = ds.Simulator(dt=0.1 * u.ms), settable(NEURONS[model])
    for other, p in known.items():
        if parameter.axis is not None and p.axis == parameter.axis and other != name:
            default = p.default if isinstance(p.default, tuple) and p.default else (p.fill,)
            given[other] = np.array(default[:1]) * p.unit
    sim.create(model, 2, params=given)


def of(parameter: Parameter, number: float) -> Any:
    """A value of a parameter: in a list where it is one."""
    bare = np.array([number]) if parameter.axis is not None else number
    return bare * parameter.unit


@pytest.mark.parametrize("model", NEURONS)
def test_units_nan_and_bounds(model):
    for name, p in settable(NEURONS[model]).items():
        bare = u.have_same_dim(p.unit, u.UNITLESS)
        strange = np.array([1.0]) if p.axis is not None else 1.0
        for wrong in (strange * u.kilogram, strange) if not bare else (strange * u.kilogram,):
            with pytest.raises(UnitError, match=rf"{model}\({name}="):
                create(model, name, wrong, p)
        with pytest.raises(ParameterError, match=rf"(?i){model}\({name}=.*nan"):
            create(model, name, of(p, np.nan), p)
        if p.is_switch:
            for number in (2, 0.5):
                with pytest.raises(ParameterError, match=rf"{model}\({name}=.*True or False"):
                    create(model, name, number, p)
            continue
        for bound, number, words in (
            (p.above, p.above, "above"), (p.at_least, p.at_least and p.at_least - 0.01, "at least"),
            (p.below, p.below, "below"), (p.at_most, p.at_most and p.at_most + 0.01, "at most"),
        ):  # fmt: skip
            if bound is not None:
                number = -0.01 if words == "at least" and bound == 0 else number
                with pytest.raises(ParameterError, match=rf"{model}\({name}=.*must be {words} {bound:g}"):
                    create(model, name, of(p, number), p)


@pytest.mark.parametrize("model", NEURONS)
def test_relations(model):
    kind, known = NEURONS[model], settable(NEURONS[model])
    relations = list(RELATIONS.get(model, []))
    if {"V_reset", "V_th"} <= set(known) and "V_peak" not in known:
        relations.append(({"V_reset": -30.0, "V_th": -30.0}, "V_reset must be below V_th="))
    for given, words in relations:
        sim = ds.Simulator(dt=0.1 * u.ms)
        with pytest.raises(ParameterError, match=rf"{model}\(.*{words}"):
            sim.create(kind, 2, params=in_units(model, given))


@pytest.mark.parametrize("model", NEURONS)
def test_receptors(model):
    kind, sim = NEURONS[model], ds.Simulator(dt=0.1 * u.ms)
    cells, clock = sim.create(kind, 2, params=in_units(model, case_of(model).base)), sim.create(ds.spike_generator)
    routes = receptor_types(kind, shape_of(model, case_of(model)))
    closed = [port for port in routes if receptor_of(kind, port).released_by is not None]
    for port in (-1, max(routes, default=0) + 1, *closed):
        with pytest.raises(ConnectError, match=rf"receptor_type={port}.* a {model}"):
            sim.connect(clock, cells, delay=1 * u.ms, receptor_type=port)
    for port in routes:
        receptor = receptor_of(kind, port)
        if receptor.at_least is not None:
            with pytest.raises(ConnectError, match=rf"receptor {port} of a {model} takes at least"):
                sim.connect(clock, cells, weight=(receptor.at_least - 1) * receptor.unit, delay=1 * u.ms, receptor_type=port)
