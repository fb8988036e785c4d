"""`dist-sim models`: the list, and a page made from what a model declares."""

import pytest

from dist_sim.__main__ import main
from dist_sim.nest.devices import DEVICES
from dist_sim.nest.neurons import NEURONS
from dist_sim.nest.neurons.shape import settable
from dist_sim.nest.page import page
from dist_sim.nest.synapses import SYNAPSES


def test_the_list_names_every_model(capsys):
    assert main(["models"]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert listed >= {*NEURONS, *SYNAPSES, *DEVICES}


@pytest.mark.parametrize("model", NEURONS)
def test_a_page_has_every_parameter_with_its_unit_and_default(model):
    text = page(NEURONS[model])
    for name, parameter in settable(NEURONS[model]).items():
        (row,) = (line for line in text.splitlines() if line.startswith(f"| {name} |"))
        unit = str(parameter.unit)
        assert (f"| {unit} |" in row or "|  |" in row) and row.count("|") == 5
    assert "Source" in text and "## Solved by" in text


def test_an_unknown_model_is_refused_with_the_one_meant(capsys):
    assert main(["models", "iaf_psc_expp"]) == 64
    assert "Did you mean 'iaf_psc_exp'?" in capsys.readouterr().err
