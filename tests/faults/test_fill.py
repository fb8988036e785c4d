"""A disk that fills up while a run writes to it; `fill.py` does it at every point."""

from __future__ import annotations

import os
import sys

import pytest
from faults.fill import POINTS, campaign


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a small file system: needs Linux and root")
@pytest.mark.parametrize(
    "points",
    [["checkpoint manifest", "SONATA export"], pytest.param(list(POINTS), marks=[pytest.mark.slow, pytest.mark.timeout(1800)])],
)
def test_a_full_disk_costs_nothing_that_was_there(tmp_path, points):
    try:
        assert len(campaign(tmp_path, points, 150.0 if len(points) < 3 else 400.0)) == len(points)
    except PermissionError as error:
        pytest.skip(str(error))
