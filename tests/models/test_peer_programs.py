"""Programs written for brainstate and brainpy.state run here by their imports alone, and find the same."""

import importlib

import numpy as np
import pytest

import dist_sim as ds
from models import peer_programs

# By the numbers of the examples of brainpy.state that have the same constructs.
PROGRAMS = {
    "102": "ei_net_1996",
    "103, 104": "coba_cuba_2005",
    "106": "coba_hh_2007",
    "107": "gamma_1996",
    "108": "synfire_1999",
    "109": "fast_oscillation",
    "110, 111, 112, 113": "susin_destexhe_2021",
    "200": "surrogate_lif",
    "201": "latency_lif",
    "202": "lif_readout",
}
SPIKES, LOSSES = 0.02, 0.05


def original():
    """The libraries that the programs were written for, where they are installed."""
    names = ("brainstate", "brainpy", "brainpy.state", "braintools")
    brainstate, brainpy, _, braintools = (pytest.importorskip(name) for name in names)
    return brainstate, brainpy, braintools


@pytest.mark.parametrize("name", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_gives_what_it_gives_there(name):
    program = importlib.import_module(f"{peer_programs.__name__}.{name}")
    ours = program.run(ds, ds, ds)
    assert all(np.isfinite(x) and x > 0 for x in ours.values()), ours
    assert ours.get("last loss", 0.0) < 0.9 * ours.get("first loss", 1.0), ours  # what is trained learns
    if name == "synfire_1999":
        pytest.importorskip("numba", reason="SpikeTime of brainpy.state needs numba")
    theirs = program.run(*original())
    assert ours.keys() == theirs.keys()
    for key, found in ours.items():
        bound = LOSSES if "loss" in key or key == "tested" else SPIKES
        assert found == pytest.approx(theirs[key], rel=bound), (key, ours, theirs)
