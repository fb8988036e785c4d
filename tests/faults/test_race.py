"""Two jobs in one run directory; `race.py` lets many of them start at one moment."""

from __future__ import annotations

import pytest
from faults.race import campaign


@pytest.mark.parametrize("races", [2, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_a_directory_has_one_writer(tmp_path, races):
    told = campaign(tmp_path, races, 100.0)
    assert sum(told.values()) == races and {what.split(":")[0] for what in told} == {"run", "resume"}
