"""Every neuron model against a live NEST: defaults, recordables, spikes and traces with every parameter changed alone."""

from __future__ import annotations

import numpy as np
import pytest
from reference.neuron_cases import CASES
from reference.neurons import BOOKKEEPING, compare, nest_defaults, nest_one_bit_away, question, run_ours, stimuli, variants

from dist_sim.nest.laws import Adaptive
from dist_sim.nest.neurons import NEURONS
from dist_sim.nest.neurons.shape import default_shape, recordables_of, settable

pytestmark = pytest.mark.nest
DETERMINISTIC = [name for name in NEURONS if name in CASES]


@pytest.mark.parametrize("model", NEURONS)
def test_parameters_defaults_and_recordables_are_nests(model):
    theirs, kind = nest_defaults(model), NEURONS[model]
    exclude = BOOKKEEPING | set(CASES[model].exclude if model in CASES else ())
    ours = {n: p.default for n, p in settable(kind).items()}
    recordables = set(recordables_of(kind, default_shape(kind)))
    wanted = {n: v for n, v in theirs.items() if n not in exclude and not isinstance(v, str)}
    assert set(wanted) - set(ours) - recordables == set(), "parameters of NEST's that are not here"
    for name, value in wanted.items():
        if name in ours:
            mine = list(ours[name]) if isinstance(ours[name], tuple) else ours[name]
            value = np.asarray(value, float)
            unbounded = np.abs(value) > 1e300
            value = np.where(unbounded, np.copysign(np.inf, value), value)
            np.testing.assert_allclose(np.asarray(mine, float), value, rtol=1e-12, err_msg=name)
    assert set(theirs.get("recordables", [])) == recordables


@pytest.mark.parametrize("model", DETERMINISTIC)
def test_spikes_and_traces_are_nests(model, parity):
    case, kind = CASES[model], NEURONS[model]
    theirs, ours = compare(model, case)
    names = list(variants(model, case))
    fired = 0
    for k, name in enumerate(names):
        wanted, found = (r["steps"][r["senders"] == k] for r in (theirs, ours))
        np.testing.assert_array_equal(found, wanted, err_msg=f"spikes with {name} changed")
        fired += len(wanted)
    assert fired > len(names) or case.silent, "the neurons hardly fire: the comparison says little"
    largest, own = {"V_m": 0.0, "others": 0.0}, "-"
    for recordable, reference in theirs["traces"].items():
        found = ours["traces"][recordable][: len(reference)]
        scale = max(1.0, np.abs(reference[np.isfinite(reference)]).max(initial=0))
        worst = np.abs(found - reference[: len(found)]).max(axis=0)
        limit = case.tolerance * scale
        if recordable == "V_m":
            limit = 1e-6 if isinstance(kind.law, Adaptive) else 1e-9
            if worst.max() > limit:
                own = float(np.abs(nest_one_bit_away(model, case) - reference).max())
                limit = max(limit, 3 * own)
        bad = {n: float(w) for n, w in zip(names, worst, strict=True) if not w <= limit}
        assert not bad, f"{recordable}: {bad}"
        which = "V_m" if recordable == "V_m" else "others"
        largest[which] = max(largest[which], float(worst.max() / (1.0 if which == "V_m" else scale)))
    # Those that spikes reach.
    receptors = len({port for port, *_ in stimuli(model, case)} | {port for *_, to in case.senders for port, *_ in to})
    parity(
        "neurons",
        {"model": model, "step law": type(kind.law).__name__, "neurons compared": len(names), "receptors": receptors,
         "spikes, all equal": fired, "V_m / mV": largest["V_m"] if "V_m" in theirs["traces"] else "-",
         "NEST one bit away / mV": own,
         "other recordables": largest["others"] if len(theirs["traces"]) > ("V_m" in theirs["traces"]) else "-"},
    )  # fmt: skip


@pytest.mark.parametrize("precision", [32, pytest.param(64, marks=pytest.mark.slow)])
@pytest.mark.parametrize("model", DETERMINISTIC)
def test_backends_give_the_same_bits(model, precision):
    case = CASES[model]
    asked = question(model, case, [*variants(model, case).values(), *({**case.base, **more} for more in case.at_random)])
    runs = [run_ours({**asked, "duration": 70.0}, precision=precision, backend=name) for name in ("reference", "native")]
    for found in ("steps", "senders"):
        np.testing.assert_array_equal(runs[1][found], runs[0][found])
    for name, trace in runs[0]["traces"].items():
        assert trace.dtype == (np.float32 if precision == 32 else np.float64)
        np.testing.assert_array_equal(runs[1]["traces"][name], trace, err_msg=name)
    if case.at_random:
        assert (runs[0]["senders"] >= len(variants(model, case))).any(), "no spike came at random"
