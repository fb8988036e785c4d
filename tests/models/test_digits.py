"""The example that learns to read digits: it learns, on one device and on many, and does not look at the test."""

import runpy

import brainunit as u
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.core import environ


@pytest.fixture
def digits(checkout):
    return runpy.run_path(str(checkout / "examples/digits.py"))


def learnt(digits, mesh, **how):
    with ds.use_mesh(shape=mesh), environ.context(dt=1.0 * u.ms):
        return list(digits["learn"](**how))


def test_a_few_updates_lower_the_loss(digits):
    epochs = learnt(digits, {"batch": 1, "neuron": 1}, epochs=4, cells=100, size=600)
    losses, rates, accuracies = np.transpose(epochs)
    assert losses[-1] < 0.9 * losses[0]
    assert 0 < rates[-1] < 200
    assert accuracies[-1] > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [{"batch": 1, "neuron": 1}, {"batch": 2, "neuron": 2}], ids=["1x1", "2x2"])
def test_over_ninety_percent_of_unknown_digits_are_told_right(digits, mesh):
    *_, (loss, _, accuracy) = learnt(digits, mesh, epochs=10)
    assert loss < 0.25
    assert accuracy > 0.9


def test_the_seed_says_which_digits_are_held_out(digits):
    images, labels = digits["load"](1)
    again, _ = digits["load"](1)
    other, _ = digits["load"](2)
    held_out = images[: digits["HELD_OUT"]]
    assert images.shape == (1797, 64) and images.min() == 0 and images.max() == 1
    assert set(labels[: digits["HELD_OUT"]]) == set(range(10))
    assert np.array_equal(held_out, again[: digits["HELD_OUT"]])
    assert not np.array_equal(held_out, other[: digits["HELD_OUT"]])


def test_without_scikit_learn_it_says_what_to_install(digits, monkeypatch):
    monkeypatch.setitem(digits["load"].__globals__, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install scikit-learn"):
        digits["load"](1)
