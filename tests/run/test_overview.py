"""`dist-sim runs` and `dist-sim status`: what is told of runs that are done, go on, were stopped, or were killed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from dist_sim.__main__ import main

SCRIPT = """
import brainunit as u
import dist_sim as ds
sim = ds.Simulator(dt=0.1 * u.ms, seed=ds.param("seed", 1))
cells = sim.create(ds.iaf_psc_exp, 20, params=dict(I_e=ds.param("drive", 500.0) * u.pA), name="cells")
sim.connect(cells, sim.create(ds.spike_recorder))
sim.simulate(50 * u.ms)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(SCRIPT)
    return tmp_path


def a_run(path: str, *, lock_age_s: float | None = None, **status) -> None:
    Path(path).mkdir(parents=True)
    Path(path, "status.json").write_text(json.dumps(status))
    Path(path, "config.json").write_text(json.dumps({"parameters": {"seed": 1}}))
    if lock_age_s is not None:
        Path(path, "run.lock").touch()
        os.utime(Path(path, "run.lock"), (time.time() - lock_age_s,) * 2)


def test_a_sweep_is_a_table_of_what_differs(folder, capsys):
    for number, drive in ((2, 400.0), (10, 600.0)):
        assert main(["run", "net.py", "--out", f"runs/array/run-{number}", "--set", f"drive={drive}"]) == 0
    summaries = [json.loads(Path(f"runs/array/run-{n}/summary.json").read_text()) for n in (2, 10)]
    capsys.readouterr()
    assert main(["runs"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["run", "state", "drive", "model", "time", "rates", "(Hz)", "digest"]  # and not the seed, the same in all
    for line, number, drive, summary in zip(lines[1:], (2, 10), ("400.0", "600.0"), summaries, strict=True):
        rate = f"{summary['rates']['cells']:.2f}"
        assert line == [f"array/run-{number}", "done", drive, "50", "ms", "cells", rate, summary["digest"][:12]]
    assert summaries[0]["digest"] != summaries[1]["digest"]
    assert main(["status", "runs/array"]) == 74
    assert "holds 2 runs" in capsys.readouterr().err
    assert main(["status", "runs/array/run-2"]) == 0
    told = capsys.readouterr().out
    assert summaries[0]["digest"] in told and "seed=1, drive=400.0" in told and "go on" not in told


def test_each_run_of_a_script_is_told_of(folder, capsys):
    Path("two.py").write_text(SCRIPT + SCRIPT.replace("50 * u.ms", "20 * u.ms"))
    assert main(["run", "two.py", "--out", "runs/two"]) == 0
    capsys.readouterr()
    assert main(["runs"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [line[:5] for line in lines] == [["two", "run-1", "done", "50", "ms"], ["two", "run-2", "done", "20", "ms"]]
    assert lines[0][-1] != lines[1][-1]
    assert main(["status", "runs/two"]) == 0
    assert capsys.readouterr().out.count("digest") == 2


def test_runs_of_different_scripts_are_told_apart(folder, capsys):
    for name, text in (("a", "one"), ("b", "two"), ("c", "one")):
        a_run(f"runs/{name}", state="done")
        Path(f"runs/{name}/script.py").write_text(text)
    assert main(["runs"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0][2] == "(script)" and rows[1][2] == rows[3][2] != rows[2][2]


@pytest.mark.parametrize(
    ("status", "lock_age_s", "told", "go_on"),
    [
        ({"state": "running", "model_time_ms": 40.0, "total_ms": 100.0, "rate": 3.0, "eta_s": 90.0}, 5.0,
         ("running", "40 of 100 ms", "done in 1.5 min", "all 3.00"), False),
        ({"state": "running", "model_time_ms": 40.0, "total_ms": 100.0}, 600.0, ("silent", "for 10 min", "40 of 100 ms"), True),
        ({"state": "running"}, None, ("silent",), True),
        ({"state": "stopped", "exit_code": 75, "last_checkpoint": "40 ms"}, None, ("stopped", "75", "40 ms"), True),
        ({"state": "failed", "exit_code": 64, "phase": "script"}, None, ("failed, phase script, exit code 64",), True),
    ],
    ids=["running", "silent", "killed", "stopped", "failed"],
)  # fmt: skip
def test_a_run_tells_how_it_stands(folder, capsys, status, lock_age_s, told, go_on):
    a_run("out", lock_age_s=lock_age_s, **status)
    assert main(["status", "out"]) == 0
    shown = capsys.readouterr().out
    assert all(text in shown for text in told) and ("dist-sim resume out" in shown) == go_on
    assert main(["runs", "."]) == 0
    assert told[0].split(",")[0] in capsys.readouterr().out


def test_a_folder_of_anything_is_looked_through(folder, capsys):
    """A broken file is a row and not the end; what is inside a run, or of another program, is none."""
    a_run("runs/a", state="done")
    a_run("runs/a/results/inner", state="done")
    a_run("runs/b")
    Path("runs/b/status.json").write_text("")
    Path("runs/other/spikes").mkdir(parents=True)
    Path("runs/file").touch()
    assert main(["runs"]) == 0
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [["a", "done"], ["b", "unreadable"]]
    assert main(["runs", "runs/other"]) == 0
    assert "no run has begun" in capsys.readouterr().err
    assert main(["status", "runs/other"]) == 74
