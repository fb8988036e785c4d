"""Runs that are killed at random moments, resumed, and compared; `kill.py` does it at length."""

from __future__ import annotations

import random
import signal

import pytest

from .kill import campaign


@pytest.mark.parametrize(("kills", "terms"), [(3, 1), pytest.param(100, 25, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])])
def test_killed_runs_are_the_unbroken_run(tmp_path, kills, terms):
    signals = [signal.SIGKILL] * kills + [signal.SIGTERM] * terms
    random.Random(2).shuffle(signals)
    met = campaign(tmp_path, signals, seed=2, milliseconds=500.0)
    assert sum(n for what, n in met.items() if what.startswith("SIG")) == kills + terms
    assert met["runs equal to the unbroken one"] >= 1
