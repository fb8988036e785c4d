"""A chain of jobs on a real SLURM equals one long job, with plastic synapses and of Modules: time limits, a requeue, a dead node.

    pytest -m slow -s tests/cluster/test_chain.py       # 10 to 15 minutes; prints what became of each link

The chain runs as one process on each of two nodes, the long job as one process. A link is one attempt of the job.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import pytest

from dist_sim.run.checkpoint_files import checkpoint_steps

from .test_slurm import MODULES, PLASTIC, SAME

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(2700)]

LIMIT_MIN = 2
# Of the whole chain, at the speed of a short trial: enough for two links that meet the limit (each at most 80 s of it), two that
# are cut short, and one more, also where the machine turns out to be faster than it was in the trial.
STEPPING_S = 330.0
OVER = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE"}


def result(out: Path) -> dict:
    """What must be the same: of the summary, the exported file and the final weights that the job printed."""
    summary = json.loads((out / "summary.json").read_text())
    with h5py.File(out / "results" / "spikes.h5") as file:
        exported = [file[f"spikes/cells/{name}"][:].tobytes() for name in ("timestamps", "node_ids")]
    (log,) = out.glob("slurm-*.log")
    weights = set(re.findall(r"^weights (\w+)$", log.read_text(), re.M))
    assert len(weights) <= 1
    return {name: summary[name] for name in SAME} | {"weights": weights, "exported": exported}


@dataclass
class Link:
    """What was seen of one attempt: the states of its job with their times, the nodes, and how far it came [ms]."""

    began: float = field(default_factory=time.monotonic)
    states: list[str] = field(default_factory=list)
    nodes: str = ""
    saved_before: int = 0
    reached: float = 0.0
    end: str = "its time limit"

    def see(self, state: str) -> None:
        if not self.states or self.states[-1].split()[0] != state:
            self.states.append(f"{state} {time.monotonic() - self.began:+.0f} s")


def read(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def newest(out: Path) -> int:
    return max(checkpoint_steps(out / "checkpoints" / "spikes"), default=0)


def requeue(slurm, job: str) -> str:
    slurm("scontrol", "requeue", job)
    return "scontrol requeue"


def kill_a_node(slurm, job: str) -> str:
    """The node of the batch script; its daemon is started again once SLURM has noticed."""
    killed = slurm.kill_daemons("ds1")
    assert any("slurmd" in name for name in killed) and sum("slurmstepd" in name for name in killed) == 2, killed
    slurm.wait(job, state="PENDING", limit_s=120)
    slurm.revive("ds1")
    return f"kill -9 of {', '.join(killed)} on ds1"


def follow(slurm, job: str, out: Path, *, limit_s: float = 1500.0) -> list[Link]:
    """Watches a job until it is over. The second link is requeued and the third loses a node, each once it has a checkpoint."""
    strikes, links, until = [requeue, kill_a_node], [], time.monotonic() + limit_s
    while time.monotonic() < until:
        known = slurm.shown(job)
        state, attempt, status = known["JobState"], int(known["Restarts"]), read(out / "status.json")
        if links and read(out / "run.lock").get("restart") in (None, len(links) - 1):
            links[-1].reached = max(links[-1].reached, status.get("model_time_ms", 0.0))
        if state == "RUNNING" and attempt == len(links):
            links.append(Link(nodes=known["NodeList"], saved_before=newest(out)))
        if links:
            links[-1].see(state)
        if state in OVER:
            links[-1].end = f"{state}, exit code {known['ExitCode']}"
            return links
        if len(links) > 1 and strikes and state == "RUNNING" and newest(out) > links[-1].saved_before:
            links[-1].end = strikes.pop(0)(slurm, job)
        time.sleep(0.25)
    raise AssertionError(f"job {job} after {limit_s} s: {known}")


@pytest.mark.parametrize("program", [PLASTIC, MODULES], ids=lambda path: path.stem)
def test_a_chain_of_jobs_equals_one_long_job(slurm, tmp_path, program):
    def submit(out: str, milliseconds: float, *options: str) -> str:
        return slurm.submit(str(program), "--out", out, "--set", f"ms={milliseconds}", *options, cwd=tmp_path)

    trial, speed = submit("trial", 5000.0, "--nodes", "2", "--time", "10"), tmp_path / "trial" / "summary.json"
    slurm.wait(trial, limit_s=300)
    milliseconds = round(1e3 * STEPPING_S / json.loads(speed.read_text())["rtf"], -2)
    shown = slurm.wait(submit("long", milliseconds, "--time", "60"), limit_s=1000)
    assert "JobState=COMPLETED" in shown and "Restarts=0" in shown, shown
    wanted = result(tmp_path / "long")

    out = tmp_path / "chain"
    job = submit("chain", milliseconds, "--nodes", "2", "--time", str(LIMIT_MIN), "--checkpoint-every", "8s")
    links = follow(slurm, job, out)
    log = (out / "log.txt").read_text()
    resumed = [0.0, *(float(ms) for ms in re.findall(r"resumed at ([\d.e+]+) ms", log))]
    print(f"\n{milliseconds:g} ms of model time; a limit of {LIMIT_MIN} minutes; job {job}")
    for number, (link, start) in enumerate(zip(links, resumed, strict=False), 1):
        saved = resumed[number] if number < len(resumed) else milliseconds
        again = f" ({link.reached - saved:.0f} ms computed again)" if link.reached > saved else ""
        print(f"link {number} on {link.nodes}: {start:.0f} to {saved:.0f} ms{again}; {' -> '.join(link.states)}; {link.end}")
    print(log)

    assert links[-1].end == "COMPLETED, exit code 0:0", links
    ends = [link.end.partition(" of ")[0] for link in links[:-1]]
    assert len(links) >= 5 and {"its time limit", "scontrol requeue", "kill -9"} == set(ends), ends
    assert log.count("stopped, exit code 75") >= ends.count("its time limit")
    found = result(out)
    assert found == wanted, {name: (found[name], wanted[name]) for name in SAME if found[name] != wanted[name]}
