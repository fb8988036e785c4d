"""A disk that fills up or becomes read-only while a run writes to it; `fill.py` does it at every point."""

from __future__ import annotations

import os
import sys

import pytest
from faults.fill import SEEN, campaign


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a small file system: needs Linux and root")
@pytest.mark.parametrize("kind", SEEN)
@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_a_disk_that_takes_no_more_costs_nothing_that_was_there(tmp_path, kind, whole):
    points = SEEN[kind] if whole else ["checkpoint manifest", "SONATA export"]
    try:
        assert len(campaign(tmp_path, points, 400.0 if whole else 150.0, kind)) == len(points)
    except PermissionError as error:
        pytest.skip(str(error))
