"""A real SLURM for the tests that ask for one."""

from __future__ import annotations

from collections.abc import Iterator

import local_slurm
import pytest


@pytest.fixture(scope="session")
def slurm(tmp_path_factory) -> Iterator[local_slurm.Slurm]:
    if reason := local_slurm.missing():
        pytest.skip(reason)
    with local_slurm.running(tmp_path_factory.mktemp("slurm")) as slurm:
        yield slurm
