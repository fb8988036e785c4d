"""Jobs on a real SLURM: what runs in the queue is what runs by hand, and what stops resumable is requeued."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.alone]

PLASTIC = Path(__file__).with_name("plastic.py")
MODULES = Path(__file__).parents[1] / "faults" / "modules.py"
SAME = ("digest", "spikes", "emitted_events", "delivered_events", "in_flight_events", "rates", "model_time_ms")


def summary(directory: Path) -> dict:
    return json.loads((directory / "summary.json").read_text())


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """by_hand(name=value, ...): the summary of a run of a script without SLURM, with these parameters."""
    folder = tmp_path_factory.mktemp("hand")

    def run(script: Path = PLASTIC, **parameters: float) -> dict:
        out = folder / "-".join(map(str, [script.stem, *parameters.values()]))
        if not out.exists():
            words = [sys.executable, "-m", "dist_sim", "run", str(script), "--out", str(out), *set_to(parameters)]
            subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=200)
        return summary(out)

    return run


def set_to(parameters: dict[str, float]) -> list[str]:
    return [word for name, value in parameters.items() for word in ("--set", f"{name}={value}")]


def test_a_job_gives_the_spikes_of_a_run_by_hand(slurm, tmp_path, by_hand):
    job = slurm.submit(str(PLASTIC), "--out", "out", "--time", "5", "--cpus-per-task", "2", cwd=tmp_path)
    expected = by_hand()
    assert "JobState=COMPLETED" in slurm.wait(job), (tmp_path / "out" / f"slurm-{job}.log").read_text()
    assert summary(tmp_path / "out")["digest"] == expected["digest"] and expected["spikes"] > 100
    assert expected["digest"] in (tmp_path / "out" / f"slurm-{job}.log").read_text()


def test_an_array_runs_each_seed_in_a_directory_of_its_own(slurm, tmp_path, by_hand):
    job = slurm.submit(str(PLASTIC), "--out", "out", "--array-seeds", "1-2", "--time", "5", cwd=tmp_path)
    expected = by_hand()["digest"]
    slurm.wait(job)
    digests = [summary(tmp_path / "out" / f"seed-{seed}")["digest"] for seed in (1, 2)]
    assert digests[0] == expected != digests[1]
    assert sorted(p.name for p in (tmp_path / "out").glob("*.log")) == [f"slurm-{job}_{seed}.log" for seed in (1, 2)]


def test_a_sweep_runs_each_combination_and_its_table_tells_them_apart(slurm, tmp_path, by_hand):
    words = ("--sweep", "seed=1,2", "--sweep", "ms=50,100", "--at-once", "2", "--time", "5")
    job = slurm.submit(str(PLASTIC), "--out", "out", *words, cwd=tmp_path)
    expected = by_hand()["digest"]
    slurm.wait(job, limit_s=120)
    rows = [row.split() for row in slurm(sys.executable, "-m", "dist_sim", "runs", "out", cwd=tmp_path).splitlines()]
    assert rows[0][:4] == ["run", "state", "seed", "ms"]
    points = [("1", "50.0"), ("1", "100.0"), ("2", "50.0"), ("2", "100.0")]
    assert [row[:4] for row in rows[1:]] == [[f"run-{n}", "done", *point] for n, point in enumerate(points, 1)]
    assert rows[2][-1] == expected[:12] and len({row[-1] for row in rows[1:]}) == 4


def test_listed_seeds_on_the_nodes_there_are_in_folders_with_spaces(slurm, tmp_path, by_hand):
    """As many processes as the job gets nodes for, whatever the names, after lines of setup."""
    (tmp_path / "a folder").mkdir()
    script = tmp_path / "it's net #1.py"
    script.write_text(PLASTIC.read_text())
    words = ("--array-seeds", "1,3%1", "--nodes", "1-2", "--tasks-per-node", "2", "--memory", "1GB")
    words += ("--partition", "short,long", "--time", "5", "--lead", "40s")
    setup = ("--setup", f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH", "--setup", "echo at $(pwd)")
    job = slurm.submit(str(script), "--out", "the run #2", *words, *setup, cwd=tmp_path / "a folder")
    expected = by_hand()["digest"]
    slurm.wait(job, limit_s=120)
    out = tmp_path / "a folder" / "the run #2"
    logs = {seed: (out / f"slurm-{job}_{seed}.log").read_text() for seed in (1, 3)}
    found = {seed: summary(out / f"seed-{seed}") for seed in logs if (out / f"seed-{seed}" / "summary.json").exists()}
    assert found.keys() == {1, 3}, logs
    assert found[1]["digest"] == expected != found[3]["digest"]
    assert {found[seed]["processes"] for seed in found} == {found[seed]["devices"] for seed in found} == {4}
    assert all(f"at {tmp_path / 'a folder'}\n" in log for log in logs.values())


def test_a_bad_script_ends_the_job_with_its_exit_code(slurm, tmp_path):
    (tmp_path / "bad.py").write_text("import brainunit as u\nimport dist_sim as ds\nds.Simulator(dt=-1 * u.ms)\n")
    job = slurm.submit("bad.py", "--out", "out", "--time", "5", cwd=tmp_path)
    shown = slurm.wait(job)
    assert "JobState=FAILED" in shown and "ExitCode=64:0" in shown and "Restarts=0" in shown
    assert "must be a positive multiple" in (tmp_path / "out" / f"slurm-{job}.log").read_text()


def test_a_job_on_two_nodes_is_one_run_with_the_same_spikes(slurm, tmp_path, by_hand):
    job = slurm.submit(str(PLASTIC), "--out", "out", "--nodes", "2", "--time", "5", cwd=tmp_path)
    expected = by_hand()
    log = tmp_path / "out" / f"slurm-{job}.log"
    assert "JobState=COMPLETED" in slurm.wait(job), log.read_text()
    found = summary(tmp_path / "out")
    assert (found["digest"], found["processes"], found["devices"]) == (expected["digest"], 2, 2)
    assert log.read_text().count(expected["digest"]) == 1


def simulating(folder: Path) -> None:
    """Waits until the run simulates."""
    status, end = folder / "out" / "status.json", time.monotonic() + 90
    while time.monotonic() < end:
        if status.exists() and json.loads(status.read_text()).get("phase") == "simulate":
            return
        time.sleep(0.05)
    raise AssertionError("".join(path.read_text() for path in (folder / "out").glob("*.log")))


@pytest.mark.parametrize(
    ("program", "ms", "options"),
    [
        (PLASTIC, 12_000.0, ()),  # long enough to be met in the middle, on a fast machine too
        (MODULES, 1500.0, ()),
        pytest.param(PLASTIC, 60_000.0, ("--mpi", "pmi2", "--set", "exchange=mpi"), marks=pytest.mark.slow),
    ],
)
def test_processes_that_are_told_to_save_are_requeued_and_go_on_as_if_nothing_had_been(
    slurm, tmp_path, by_hand, program, ms, options
):
    """On two nodes; they save once, together."""
    words = ("--out", "out", "--nodes", "2", "--time", "10", *set_to({"ms": ms}), *options)
    job = slurm.submit(str(program), *words, cwd=tmp_path)
    simulating(tmp_path)
    slurm("scancel", "--batch", "--signal=USR1", job)
    slurm.wait(job, state="PENDING")  # until the credential of the attempt before has expired
    assert json.loads((tmp_path / "out" / "status.json").read_text())["state"] == "stopped"
    expected = by_hand(program, ms=ms)
    shown = slurm.wait(job, limit_s=150.0)
    said = (tmp_path / "out" / "log.txt").read_text()
    assert "JobState=COMPLETED" in shown and "Restarts=1" in shown, said
    assert said.count("to be resumed") == said.count("resumed at") == 1, said
    assert [summary(tmp_path / "out")[name] for name in SAME] == [expected[name] for name in SAME]


def test_a_job_that_comes_to_its_end_is_not_requeued(slurm, tmp_path):
    """It is told to save while it analyses what it has simulated."""
    waits = MODULES.read_text() + '    import time\n    Path("simulated").touch()\n    time.sleep(6)\n    print("analysed")\n'
    (tmp_path / "script.py").write_text(waits)
    job = slurm.submit("script.py", "--out", "out", "--time", "5", *set_to({"ms": 200.0}), cwd=tmp_path)
    end = time.monotonic() + 90
    while not (tmp_path / "simulated").exists():
        assert time.monotonic() < end, slurm("scontrol", "show", "job", job)
        time.sleep(0.1)
    slurm("scancel", "--batch", "--signal=USR1", job)
    shown = slurm.wait(job)
    log = (tmp_path / "out" / f"slurm-{job}.log").read_text()
    assert "JobState=COMPLETED" in shown and "Restarts=0" in shown and "ExitCode=0:0" in shown and "analysed" in log, log
    assert json.loads((tmp_path / "out" / "status.json").read_text())["state"] == "done"


def test_a_job_of_which_a_process_is_killed_can_be_resumed(slurm, tmp_path, by_hand):
    """What SLURM makes of it is SLURM's: it ends the step, or the other process finds itself alone."""
    words = ("--out", "out", "--nodes", "2", "--time", "5", "--heartbeat", "12", "--checkpoint-every", "1s")
    job = slurm.submit(str(PLASTIC), *words, *set_to({"ms": 12_000.0}), cwd=tmp_path)
    simulating(tmp_path)
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            given = {*(process / "environ").read_bytes().split(b"\0"), *(process / "cmdline").read_bytes().split(b"\0")}
            if {f"SLURM_JOB_ID={job}".encode(), b"SLURM_PROCID=1", b"dist_sim"} <= given:
                os.kill(int(process.name), signal.SIGKILL)
    shown = slurm.wait(job, limit_s=90.0)
    status = json.loads((tmp_path / "out" / "status.json").read_text())
    log = (tmp_path / "out" / f"slurm-{job}.log").read_text()
    assert status["state"] == "stopped" and status["resumable"], (shown, log)
    assert "process 1" in log and "Traceback" not in log, log
    subprocess.run([sys.executable, "-m", "dist_sim", "resume", "out"], cwd=tmp_path, check=True, timeout=200)
    assert summary(tmp_path / "out")["digest"] == by_hand(ms=12_000.0)["digest"]


def test_a_cancelled_job_saves_and_stays_cancelled(slurm, tmp_path):
    job = slurm.submit(str(PLASTIC), "--out", "out", "--time", "10", *set_to({"ms": 60_000.0}), cwd=tmp_path)
    simulating(tmp_path)
    slurm("scancel", job)
    shown = slurm.wait(job)
    assert "JobState=CANCELLED" in shown and "Restarts=0" in shown
    assert json.loads((tmp_path / "out" / "status.json").read_text())["state"] == "stopped"
