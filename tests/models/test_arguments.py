"""Names, arguments and defaults are those of brainpy.state, of all that is no neuron (those are in test_neuron_equations.py)."""

import inspect

import brainunit as u
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.models import inputs, outputs, plasticity, projections, readouts, synapses

FOLDERS = inputs, outputs, plasticity, projections, readouts, synapses
# The contracts that a model of one's own fulfils, and what is new here.
OURS = {"Receptor", "TwoState", "ShortTermPlasticity", "NMDA"}
ELSEWHERE = {"LatencyEncoder": "braintools"}
# What is given in a unit here and is a number of it there.
BARE = {"MgBlock": dict(E=u.mV, cc_Mg=u.mM, alpha=u.mV**-1, beta=u.mM, V_offset=u.mV)}
NAMES = sorted({name for folder in FOLDERS for name in vars(folder) if not name.startswith("_") and hasattr(ds, name)} - OURS)


def arguments(found):
    """By name; what is behind a star has no name of its own."""
    given = inspect.signature(found.__init__ if isinstance(found, type) else found).parameters
    return {"*" if p.kind is p.VAR_POSITIONAL else name: p for name, p in given.items()}


def in_order(given):
    return [name for name, p in given.items() if p.kind is not p.KEYWORD_ONLY]


@pytest.mark.parametrize("name", NAMES)
def test_it_has_the_arguments_of_brainpy_state(name):
    reference = arguments(getattr(pytest.importorskip(ELSEWHERE.get(name, "brainpy.state")), name))
    ours = arguments(getattr(ds, name))
    assert in_order(ours)[: len(in_order(reference))] == in_order(reference) and not reference.keys() - ours.keys()
    # What is new has to be asked for.
    assert all(ours[key].default is not inspect.Parameter.empty for key in ours.keys() - reference.keys())
    for key, parameter in reference.items():
        mine, theirs = ours[key].default, parameter.default
        assert ours[key].kind == parameter.kind
        if key in BARE.get(name, {}):
            mine = mine.to_decimal(BARE[name][key])
        if key == "w_init":
            assert type(mine).__name__ == type(theirs).__name__
        elif key.endswith("_initializer"):
            assert u.math.allclose(mine(3), theirs(3))
        elif isinstance(mine, u.Quantity):
            assert u.math.isclose(mine, theirs, rtol=1e-12)
        elif isinstance(mine, type):
            assert mine.__name__ == theirs.__name__
        else:
            assert mine is theirs or mine == theirs


@pytest.mark.parametrize("name", ["COBA", "CUBA", "MgBlock"])
def test_an_output_is_the_one_of_brainpy_state(name):
    given = {"E": -20.0 * u.mV} if name == "COBA" else {}
    g, V = np.linspace(0.0, 2.0, 7), np.linspace(-90.0, 40.0, 7)
    # Theirs takes V without a unit, and the defaults as they are.
    of_theirs = V if name == "MgBlock" else V * u.mV
    reference = getattr(pytest.importorskip("brainpy.state"), name)(**given)
    wanted, found = (
        u.get_mantissa(u.Quantity(made.update(g * u.mS, v)).in_unit(unit))
        for made, v, unit in (
            (reference, of_theirs, u.mS if name == "MgBlock" else u.uA),
            (getattr(ds, name)(**given), V * u.mV, u.uA),
        )
    )
    assert np.allclose(found, wanted, rtol=1e-6)
