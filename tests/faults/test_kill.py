"""Runs that are killed in every phase, resumed, and compared; `kill.py` does it at length."""

from __future__ import annotations

import pytest

from .kill import SCRIPT, campaign, drawn

pytestmark = pytest.mark.alone


@pytest.mark.parametrize(
    ("script", "kills", "terms"),
    [
        ("network", 3, 1),
        ("modules", 2, 1),
        ("training", 2, 1),
        pytest.param("network", 100, 25, marks=[pytest.mark.slow, pytest.mark.timeout(7200)]),
        pytest.param("modules", 40, 10, marks=[pytest.mark.slow, pytest.mark.timeout(7200)]),
        pytest.param("training", 40, 10, marks=[pytest.mark.slow, pytest.mark.timeout(7200)]),
    ],
)
def test_killed_runs_are_the_unbroken_run(tmp_path, script, kills, terms):
    options = dict(milliseconds=150.0 if kills < 10 else 400.0, script=SCRIPT.with_name(f"{script}.py"))
    met = campaign(tmp_path, drawn(kills, terms, 2), seed=2, **options)
    assert sum(n for what, n in met.items() if what.startswith("SIG")) == kills + terms
    assert met["runs equal to the unbroken one"] >= 1 and met["sound checkpoints found after a signal"] >= 1
