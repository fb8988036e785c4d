"""Damaged checkpoints of a plastic run; `corrupt.py` does it at length."""

from __future__ import annotations

import pytest
from faults.corrupt import campaign


@pytest.mark.parametrize(
    ("flips", "cuts", "deletions"),
    [(24, 8, 18), pytest.param(200, 50, 50, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])],
)
def test_every_damage_is_noticed(tmp_path, flips, cuts, deletions):
    number = flips + cuts + deletions
    noticed = campaign(tmp_path, flips, cuts, deletions, seed=2, whole_every=30 if number > 100 else 50)
    assert (noticed["flip"], noticed["cut"], noticed["deletion"]) == (flips, cuts, deletions)
    assert noticed["whole runs that were the unbroken one"] == number // (30 if number > 100 else 50)
