"""Parameters without unit; those with one are tested with the models that have them (test_lif.py)."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dist_sim.core import ParamState, State
from dist_sim.errors import ParameterError, UnitError
from dist_sim.models.parameter import Parameter


class Model:
    in_size = (3,)
    fraction = Parameter(u.UNITLESS, positive=True)

    def __init__(self, fraction):
        self.fraction = fraction


@pytest.mark.parametrize(
    "given", [0.5, np.full(3, 0.5), jnp.full(3, 0.5), ParamState(0.5), 0.5 * u.UNITLESS, 1 * u.mV / (2 * u.mV)]
)
def test_it_reads_as_a_bare_number(given):
    read = Model(given).fraction
    assert not isinstance(read, u.Quantity) and np.all(np.asarray(read) == 0.5)
    assert jax.jit(lambda x: Model(x).fraction + 1)(0.5) == 1.5


def test_it_is_kept_as_one_with_a_unit_is():
    trained = ParamState(0.5)
    assert vars(Model(trained))["fraction"] is trained and type(vars(Model(2))["fraction"]) is float
    assert type(vars(Model(np.ones(3)))["fraction"]) is State
    assert np.all(Model(State(np.full(3, 0.5) * u.UNITLESS)).fraction == 0.5)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (1 * u.mV, UnitError, r"Model\(fraction=...\): needs a number without unit; got 1 mV\."),
        ("much", UnitError, r"needs a number without unit; got much\."),
        (None, UnitError, r"needs a number without unit; got None\."),
        (True, UnitError, r"needs a number without unit; got True\."),
        (-1.0, ParameterError, r"must be above 0; got -1\."),
        (np.nan, ParameterError, r"Give finite numbers\."),
        (np.ones(2), ParameterError, r"has shape \(2,\)"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        Model(given)
