"""Jobs on a real SLURM: what runs in the queue is what runs by hand, and what stops resumable is requeued."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm

NETWORK = """
import brainunit as u
import dist_sim as ds

sim = ds.Simulator(dt=0.1 * u.ms, seed=ds.param("seed", 1))
cells = sim.create(ds.iaf_psc_exp, 200)
sim.connect(sim.create(ds.poisson_generator, rate=9000 * u.Hz), cells, weight=87.8 * u.pA, delay=1.5 * u.ms)
sim.connect(cells, cells, rule=ds.fixed_indegree(20), weight=ds.dist.Normal(30 * u.pA, 5 * u.pA), delay=1.5 * u.ms)
sim.connect(cells, sim.create(ds.spike_recorder))
sim.simulate(ds.param("ms", 50.0) * u.ms)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "net.py").write_text(NETWORK)
    return tmp_path


def summary(directory: Path) -> dict:
    return json.loads((directory / "summary.json").read_text())


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """by_hand(name=value, ...): the summary of a run without SLURM, with these parameters."""
    folder = tmp_path_factory.mktemp("hand")
    (folder / "net.py").write_text(NETWORK)

    def run(**parameters: float) -> dict:
        out = folder / "-".join(map(str, ["run", *parameters.values()]))
        if not out.exists():
            words = [sys.executable, "-m", "dist_sim", "run", "net.py", "--out", str(out), *set_to(parameters)]
            subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=200)
        return summary(out)

    return run


def set_to(parameters: dict[str, float]) -> list[str]:
    return [word for name, value in parameters.items() for word in ("--set", f"{name}={value}")]


def test_a_job_gives_the_spikes_of_a_run_by_hand(slurm, folder, by_hand):
    job = slurm.submit("net.py", "--out", "out", "--time", "5", "--cpus-per-task", "2", cwd=folder)
    expected = by_hand()
    assert "JobState=COMPLETED" in slurm.wait(job), (folder / "out" / f"slurm-{job}.log").read_text()
    assert summary(folder / "out")["digest"] == expected["digest"] and expected["spikes"] > 100
    assert expected["digest"] in (folder / "out" / f"slurm-{job}.log").read_text()


def test_an_array_runs_each_seed_in_a_directory_of_its_own(slurm, folder, by_hand):
    job = slurm.submit("net.py", "--out", "out", "--array-seeds", "1-2", "--time", "5", cwd=folder)
    expected = by_hand()["digest"]
    slurm.wait(job)
    digests = [summary(folder / "out" / f"seed-{seed}")["digest"] for seed in (1, 2)]
    assert digests[0] == expected != digests[1]
    assert sorted(p.name for p in (folder / "out").glob("*.log")) == [f"slurm-{job}_{seed}.log" for seed in (1, 2)]


def test_a_bad_script_ends_the_job_with_its_exit_code(slurm, folder):
    (folder / "bad.py").write_text("import brainunit as u\nimport dist_sim as ds\nds.Simulator(dt=-1 * u.ms)\n")
    job = slurm.submit("bad.py", "--out", "out", "--time", "5", cwd=folder)
    shown = slurm.wait(job)
    assert "JobState=FAILED" in shown and "ExitCode=64:0" in shown and "Restarts=0" in shown
    assert "must be a positive multiple" in (folder / "out" / f"slurm-{job}.log").read_text()


def test_a_job_on_two_nodes_is_one_run_with_the_same_spikes(slurm, folder, by_hand):
    job = slurm.submit("net.py", "--out", "out", "--nodes", "2", "--time", "5", cwd=folder)
    expected = by_hand()
    log = folder / "out" / f"slurm-{job}.log"
    assert "JobState=COMPLETED" in slurm.wait(job), log.read_text()
    found = summary(folder / "out")
    assert (found["digest"], found["processes"], found["devices"]) == (expected["digest"], 2, 2)
    assert log.read_text().count(expected["digest"]) == 1


def simulating(folder: Path, *, before: int = 0) -> int:
    """Waits until an attempt simulates; returns its process. `before`: that of the attempt before."""
    status, end = folder / "out" / "status.json", time.monotonic() + 90
    while time.monotonic() < end:
        now = json.loads(status.read_text()) if status.exists() else {}
        if now.get("state") == "running" and now.get("pid") != before and now.get("model_time_ms", 0) > 0:
            return now["pid"]
        time.sleep(0.05)
    raise AssertionError("".join(path.read_text() for path in (folder / "out").glob("*.log")))


def test_a_run_that_is_told_to_save_is_requeued_and_goes_on_as_if_nothing_had_been(slurm, folder, by_hand):
    parameters = {"ms": 80_000.0}  # long enough for status.json to be seen in the middle, on a fast machine too
    job = slurm.submit("net.py", "--out", "out", "--time", "10", *set_to(parameters), cwd=folder)
    simulating(folder)
    slurm("scancel", "--batch", "--signal=USR1", job)
    slurm.wait(job, state="PENDING")  # until the credential of the attempt before has expired
    assert json.loads((folder / "out" / "status.json").read_text())["state"] == "stopped"
    expected = by_hand(**parameters)
    shown = slurm.wait(job)
    assert "JobState=COMPLETED" in shown and "Restarts=1" in shown, (folder / "out" / f"slurm-{job}.log").read_text()
    found = summary(folder / "out")
    assert (found["digest"], found["spikes"]) == (expected["digest"], expected["spikes"])


def test_a_cancelled_job_saves_and_stays_cancelled(slurm, folder):
    job = slurm.submit("net.py", "--out", "out", "--time", "10", *set_to({"ms": 60_000.0}), cwd=folder)
    simulating(folder)
    slurm("scancel", job)
    shown = slurm.wait(job)
    assert "JobState=CANCELLED" in shown and "Restarts=0" in shown
    assert json.loads((folder / "out" / "status.json").read_text())["state"] == "stopped"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_job_that_is_requeued_and_meets_its_time_limit_equals_one_long_run(slurm, folder, by_hand):
    """The limit is two minutes: SLURM sends its signal up to a minute early, and so at least 30 s after the start."""
    parameters = {"ms": 250_000.0}
    job = slurm.submit("net.py", "--out", "out", "--time", "2", *set_to(parameters), cwd=folder)
    first = simulating(folder)
    slurm("scontrol", "requeue", job)
    simulating(folder, before=first)
    expected = by_hand(**parameters)
    shown = slurm.wait(job, limit_s=600.0)
    text = (folder / "out" / f"slurm-{job}.log").read_text()
    assert "JobState=COMPLETED" in shown and int(re.search(r"Restarts=(\d+)", shown)[1]) >= 2, text
    assert (folder / "out" / "log.txt").read_text().count("to be resumed") >= 2
    found = summary(folder / "out")
    assert (found["digest"], found["spikes"]) == (expected["digest"], expected["spikes"])
