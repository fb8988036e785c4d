"""Jobs on a real SLURM: what runs in the queue is what runs by hand, and what stops resumable is requeued."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dist_sim.cluster.sbatch import BatchJob, sbatch_script

pytestmark = pytest.mark.slurm

NETWORK = """
import brainunit as u
import dist_sim as ds

sim = ds.Simulator(dt=0.1 * u.ms, seed=ds.param("seed", 1))
cells = sim.create(ds.iaf_psc_exp, 200)
sim.connect(sim.create(ds.poisson_generator, rate=9000 * u.Hz), cells, weight=87.8 * u.pA, delay=1.5 * u.ms)
sim.connect(cells, cells, rule=ds.fixed_indegree(20), weight=ds.dist.Normal(30 * u.pA, 5 * u.pA), delay=1.5 * u.ms)
sim.connect(cells, sim.create(ds.spike_recorder))
sim.simulate(50 * u.ms)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "net.py").write_text(NETWORK)
    return tmp_path


def summary(directory: Path) -> dict:
    return json.loads((directory / "summary.json").read_text())


@pytest.fixture
def by_hand(folder):
    """by_hand(seed): the summary of a run without SLURM."""

    def run(seed: int) -> dict:
        words = [sys.executable, "-m", "dist_sim", "run", "net.py", "--out", f"hand-{seed}", "--set", f"seed={seed}"]
        subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=120)
        return summary(folder / f"hand-{seed}")

    return run


def test_a_job_gives_the_spikes_of_a_run_by_hand(slurm, folder, by_hand):
    job = slurm.submit("net.py", "--out", "out", "--set", "seed=3", "--time", "5", "--cpus-per-task", "2", cwd=folder)
    expected = by_hand(3)
    assert "JobState=COMPLETED" in slurm.wait(job), (folder / "out" / f"slurm-{job}.log").read_text()
    assert summary(folder / "out")["digest"] == expected["digest"] and expected["spikes"] > 100
    assert expected["digest"] in (folder / "out" / f"slurm-{job}.log").read_text()


def test_an_array_runs_each_seed_in_a_directory_of_its_own(slurm, folder, by_hand):
    job = slurm.submit("net.py", "--out", "out", "--array-seeds", "7-8", "--time", "5", cwd=folder)
    expected = by_hand(8)["digest"]
    slurm.wait(job)
    digests = [summary(folder / "out" / f"seed-{seed}")["digest"] for seed in (7, 8)]
    assert digests[1] == expected != digests[0]
    assert sorted(p.name for p in (folder / "out").glob("*.log")) == [f"slurm-{job}_{seed}.log" for seed in (7, 8)]


def test_a_bad_script_ends_the_job_with_its_exit_code(slurm, folder):
    (folder / "bad.py").write_text("import brainunit as u\nimport dist_sim as ds\nds.Simulator(dt=-1 * u.ms)\n")
    job = slurm.submit("bad.py", "--out", "out", "--time", "5", cwd=folder)
    shown = slurm.wait(job)
    assert "JobState=FAILED" in shown and "ExitCode=64:0" in shown and "Restarts=0" in shown
    assert "must be a positive multiple" in (folder / "out" / f"slurm-{job}.log").read_text()


# In place of dist-sim: two processes that work until they are told to stop, and then leave with 75; the next attempt ends well.
STOPPABLE = """
case $1 in
run) mkdir -p "$4"; touch "$4/config.json"; trap 'echo saved; exit 75' TERM; echo begun; sleep 60 & wait;;
resume) echo "resumed $2 attempt $SLURM_RESTART_COUNT";;
esac
"""


def test_a_job_that_is_told_to_save_is_requeued_and_resumes(slurm, tmp_path):
    (tmp_path / "program.sh").write_text(STOPPABLE)
    out = tmp_path / "out"
    out.mkdir()
    job = BatchJob(
        script=tmp_path / "net.py", directory=out, folder=tmp_path, name="stop", time=600, nodes=2, devices=2,
        program=("bash", str(tmp_path / "program.sh")),
    )  # fmt: skip
    (out / "job.sbatch").write_text(sbatch_script(job))
    number = slurm("sbatch", "--parsable", str(out / "job.sbatch")).strip()
    log = out / f"slurm-{number}.log"
    while not (log.exists() and log.read_text().count("begun") == 2):
        slurm.wait(number, state="RUNNING", limit_s=30)
    slurm("scancel", "--batch", "--signal=USR1", number)
    slurm.wait(number, state="PENDING", limit_s=30)
    slurm("scontrol", "update", f"JobId={number}", "StartTime=now")
    assert "JobState=COMPLETED" in slurm.wait(number)
    text = log.read_text()
    assert text.count("saved") == 2 and text.count(f"resumed {out} attempt 1") == 2, text
    assert os.listdir(out).count("config.json") == 1
