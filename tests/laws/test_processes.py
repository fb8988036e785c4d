"""Law 1 over processes: how many of them run a network changes nothing; each has its own devices' part, and knows the whole."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("one_of_several.py")
PLANS = ["block", "round_robin"]
PRODUCT = [(processes, each, plan) for processes in (1, 2, 4) for each in (1, 2) for plan in PLANS]
QUICK = [(2, 2, "round_robin"), (4, 1, "block")]
SAME = ("digest", "events", "traces", "rates", "counts")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(checkout):
    folders = (checkout, checkout / "tests", checkout / "examples" / "benchmarks")
    return os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(map(str, folders))}


def outcomes(commands, checkout, timeout=150):
    """The JSON line of each process; none is left behind."""
    running = [
        subprocess.Popen(c, env=environment(checkout), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for c in commands
    ]
    try:
        ended = [process.communicate(timeout=timeout) for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0] * len(running), "\n".join(err[-2000:] for _, err in ended)
    return [json.loads(line) for out, _ in ended for line in out.splitlines() if line.startswith("{")]


def run(checkout, processes, each, plan, network="mixed", **options):
    wanted = dict(
        processes=processes, devices=processes * each, network=network, duration_ms=6.0, coordinator=f"127.0.0.1:{free_port()}",
        options=dict(plan=plan) | options,
    )  # fmt: skip
    commands = [[sys.executable, str(WORKER), json.dumps(wanted | {"process": k})] for k in range(processes)]
    return outcomes(commands, checkout)


@pytest.fixture(scope="module")
def alone(checkout):
    (found,) = run(checkout, 1, 1, "block")
    assert found["counts"][0] > 30, "a silent network proves nothing"
    return found


def agree(found, alone, processes, each):
    assert len(found) == processes
    for outcome in found:
        assert {name: outcome[name] for name in SAME} == {name: alone[name] for name in SAME}
        assert outcome["placed"][:2] == [processes * each, processes]
        assert outcome["drawn"] == each, "a process is to hold the synapses of its own devices"


@pytest.mark.parametrize(("processes", "each", "plan"), QUICK)
def test_processes_change_nothing(checkout, alone, processes, each, plan):
    agree(run(checkout, processes, each, plan), alone, processes, each)


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "each", "plan"), [case for case in PRODUCT if case not in QUICK])
def test_no_product_of_processes_and_devices_changes_anything(checkout, alone, processes, each, plan):
    agree(run(checkout, processes, each, plan), alone, processes, each)


@pytest.mark.slow
@pytest.mark.parametrize("exchange", ["mask", "ids"])
def test_buffers_that_overflow_on_one_process_grow_on_all(checkout, exchange):
    (wanted,) = run(checkout, 1, 1, "block", "saturating", exchange=exchange)
    for outcome in run(checkout, 2, 1, "block", "saturating", exchange=exchange):
        assert {name: outcome[name] for name in SAME} == {name: wanted[name] for name in SAME}


@pytest.mark.slow
def test_under_mpirun(checkout, alone):
    mpirun = Path(sys.executable).with_name("mpirun")
    found = str(mpirun) if mpirun.exists() else shutil.which("mpirun")
    if found is None:
        pytest.skip("no mpirun: pip install mpich mpi4py")
    pytest.importorskip("mpi4py")
    wanted = dict(devices=2, network="mixed", duration_ms=6.0, options=dict(plan="block"))
    agree(outcomes([[found, "-n", "2", sys.executable, str(WORKER), json.dumps(wanted)]], checkout), alone, 2, 1)
