"""A process that raises, or stops making progress, ends all of them; `raising.py` and `stalling.py` do it at length."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from dist_sim.cluster.aborted import lost_processes
from dist_sim.run.directory import RunDirectory
from dist_sim.run.overview import overviews

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


@pytest.mark.parametrize(
    ("stage", "kind", "culprit"),
    [
        case if case in (("late chunk", "kill", 0), ("late chunk", "stop", 1)) else pytest.param(*case, marks=pytest.mark.slow)
        for stage, kind in (("late chunk", "kill"), ("first line", "kill"), ("recording", "kill"), ("late chunk", "stop"))
        for case in ((stage, kind, 1), (stage, kind, 0))
    ],
)
def test_a_lost_process_ends_all_with_a_sentence(tmp_path, stage, kind, culprit):
    found = raising.struck(tmp_path / "run", "plain", stage, kind=kind, culprit=culprit, more=f"--heartbeat {HEARTBEAT_S}")
    assert found.codes[culprit] == -9 and found.codes[1 - culprit] == 75
    assert found.seconds < HEARTBEAT_S + 15
    named = f"dist-sim: lost process {culprit}: killed, or without an answer; all have ended. Go on with it: dist-sim resume "
    assert found.said.count("\n") == 1 and found.said.startswith(named), found.said
    status = json.loads((found.out / "status.json").read_text())
    assert (status["state"], status["exit_code"], status["resumable"]) == ("stopped", 75, True)
    if culprit and stage != "first line":
        # The fault is in process 1, which is none any more.
        assert dist_sim("resume", found.out) == 0
        whole = raising.struck(tmp_path / "whole", "plain", "none", processes=1)
        digests = [json.loads((out / "summary.json").read_text())["digest"] for out in (found.out, whole.out)]
        assert digests[0] == digests[1]


def test_a_run_that_mpirun_has_killed_is_seen_to_be_gone(tmp_path):
    """mpirun kills the others of a process that is killed before they can say a word."""
    pytest.importorskip("mpi4py", reason="mpirun needs it: pip install mpi4py mpich")
    found = raising.struck(tmp_path / "run", "mpirun", "late chunk", kind="kill", culprit=1)
    assert found.codes == [9], found
    [seen] = overviews(found.out)
    assert seen.state == "silent" and seen.silent_s < 30.0
    assert dist_sim("resume", found.out) == 0


def dist_sim(command, folder):
    """The exit code of a command, by one process."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(raising.SCRIPT.parents[2])}
    return subprocess.run([sys.executable, "-m", "dist_sim", command, str(folder), "--devices", "1"], env=environment).returncode


@pytest.mark.parametrize("taken", [False, True])
def test_a_process_that_wakes_up_leaves_the_run_of_others_alone(tmp_path, taken):
    leader = RunDirectory(tmp_path)
    leader.update_status(state="running")
    left = RunDirectory.join(tmp_path, 1)
    if taken:
        leader.close()
        (tmp_path / "run.lock").write_text("as another run on another host would have written it")
    left.take_over()
    left.update_status(state="stopped")
    leader.close()
    assert json.loads((tmp_path / "status.json").read_text())["state"] == ("running" if taken else "stopped")


def test_what_jax_writes_names_the_lost():
    several = "UNAVAILABLE: The following tasks are unhealthy (stopped sending heartbeats):\n1\n12\nThe tasks have crashed."
    gone = "F1 client.h:80] absl::Status: UNAVAILABLE: Failed to send RPC to coordination service. Either the leader"
    silent = "F1 client.h:80] absl::Status: DEADLINE_EXCEEDED\n\nRPC: /xla.coordination.CoordinationService/Heartbeat"
    assert lost_processes(several + several) == [1, 12]
    assert lost_processes(gone) == lost_processes(silent) == [0]
    assert lost_processes("terminate called after throwing an instance of 'std::bad_alloc'") == []


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
