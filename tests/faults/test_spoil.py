"""NaN and infinity in any state of a run are found within a chunk; `spoil.py` shows all of them."""

from __future__ import annotations

import pytest
from faults.spoil import VARIABLES, cases, on_devices, on_two_processes


@pytest.mark.parametrize("devices", [1, 2])
def test_what_is_not_finite_is_found_and_named(devices):
    chosen = cases(10, seed=devices)
    assert {case.variable for case in chosen} == set(VARIABLES)
    assert len(on_devices(devices, chosen)) == 10


def test_on_two_processes(tmp_path):
    assert len(on_two_processes(tmp_path, cases(5, seed=3))) == 5
