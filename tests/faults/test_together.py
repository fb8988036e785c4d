"""A process that raises, or stops making progress, ends all of them; `raising.py` and `stalling.py` do it at length."""

from __future__ import annotations

import pytest

from . import raising, stalling

pytestmark = pytest.mark.alone

QUICK = {("plain", "options", 1), ("mpirun", "late chunk", 1)}
RAISES = [
    pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow)
    for launcher in raising.LAUNCHERS
    for stage in raising.STAGES
    for culprit in (0, 1)
    if (case := (launcher, stage, culprit))[1:] != ("results", 1)
]
# Before anything is compiled, and with kernels that are never: there a few seconds without a sign are many on any machine.
EARLY, EARLY_S, COMPILING_S = (2, "build", "sleep", 1, "placement"), 5.0, 60.0
HEARTBEAT_S = 15


@pytest.mark.parametrize(("launcher", "stage", "culprit"), RAISES)
def test_a_process_that_raises_ends_all(tmp_path, launcher, stage, culprit):
    if launcher == "mpirun":
        pytest.importorskip("mpi4py", reason="mpirun needs it: pip install mpi4py mpich")
    found = raising.struck(tmp_path / "run", launcher, stage, culprit=culprit)
    assert not raising.wrong(found, stage, limit=30.0), found.said


@pytest.mark.slow
@pytest.mark.parametrize("culprit", [1, 0])
@pytest.mark.parametrize(("stage", "kind"), [("late chunk", "kill"), ("first line", "kill"), ("late chunk", "stop")])
def test_a_lost_process_is_noticed_within_the_heartbeat(tmp_path, stage, kind, culprit):
    # Process 0 keeps the word for all: with it the others are ended by JAX, else they end by themselves.
    found = raising.struck(tmp_path / "run", "plain", stage, kind=kind, culprit=culprit, more=f"--heartbeat {HEARTBEAT_S}")
    assert found.codes[culprit] == -9 and found.codes[1 - culprit] not in (0, -9)
    assert found.seconds < HEARTBEAT_S + 15
    print(f"{stage}, {kind} of process {culprit}: {found.seconds:.1f} s, code {found.codes[1 - culprit]}")


def test_a_process_that_stands_still_early_ends_all(tmp_path):
    processes, stage, kind, culprit, phase = EARLY
    options = f"--stall-seconds {EARLY_S} --set backend=reference"
    found = raising.struck(tmp_path / "run", "plain", stage, kind=kind, culprit=culprit, processes=processes, more=options)
    assert not stalling.wrong(found, processes, kind, culprit, phase, EARLY_S + 30), found.said


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "stage", "kind", "culprit", "phase"), stalling.STALLS)
def test_a_process_that_stands_still_ends_all(tmp_path, processes, stage, kind, culprit, phase):
    options = f"--stall-seconds {COMPILING_S} --heartbeat 200"
    found = raising.struck(tmp_path / "run", "plain", stage, kind=kind, culprit=culprit, processes=processes, more=options)
    assert not stalling.wrong(found, processes, kind, culprit, phase, COMPILING_S + 30), found.said
