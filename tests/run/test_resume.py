"""`dist-sim run` that is stopped or killed, and `dist-sim resume`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest
from brainevent import load_cpp_file

from dist_sim.__main__ import main
from dist_sim.kernels import backend
from dist_sim.run.directory import RunDirectory
from dist_sim.run.stop import Stop, Stopped, leaving

# Asks itself to stop once there is a checkpoint, the first time that it runs: at the latest between its two calls.
SCRIPT = """
import os, signal, threading, time
from pathlib import Path
import brainunit as u
import dist_sim as ds

def ask():
    while not list(Path("out/checkpoints").glob("*/0*")):
        time.sleep(0.01)
    os.kill(os.getpid(), number)

number = getattr(signal, ds.param("signal", "SIGTERM"))
asker = threading.Thread(target=ask, daemon=True)
if not Path("asked").exists():
    Path("asked").touch()
    asker.start()
sim = ds.Simulator(dt=0.1 * u.ms, seed=1, chunk=2 * u.ms)
cells = sim.create(ds.iaf_psc_exp, ds.param("neurons", 50), params=dict(I_e=500 * u.pA))
recorder = sim.create(ds.spike_recorder)
sim.connect(cells, cells, rule=ds.fixed_indegree(5), weight=10 * u.pA, delay=1.5 * u.ms)
sim.connect(cells, recorder)
sim.simulate(300 * u.ms)
if asker.is_alive():
    asker.join(60)
result = sim.cont(300 * u.ms)
print("digest", result.digest)
"""
MODULES = """
import os, signal
import brainunit as u
import dist_sim as ds
from dist_sim.run import session

with ds.environ.context(dt=0.1 * u.ms):
    cells = ds.nn.init_all_states(ds.LIF(20, V_th=15 * u.mV, tau=10 * u.ms))
    run = ds.Run(lambda: cells(20 * u.mA), record={"cells": cells})
run.advance(50 * u.ms)
LATE
print("analysed")
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("script.py").write_text(SCRIPT)
    return "script.py"


def status():
    return json.loads(Path("out/status.json").read_text())


@pytest.mark.parametrize("number", ["SIGUSR1", "SIGUSR2", "SIGHUP", "SIGINT"])
def test_a_signal_stops_a_run_that_can_be_resumed(script, capsys, number):
    policy = ["--checkpoint-every", "0s", "--keep-last", "3", "--mtbf", "6h"]
    begin = ["run", script, "--out", "out", *policy, "--set", f"signal={number}"]
    before = signal.getsignal(getattr(signal, number))
    assert main(begin) == 75
    assert json.loads(Path("out/config.json").read_text())["checkpoints"]["mtbf"] == 6 * 3600
    assert signal.getsignal(getattr(signal, number)) is before
    assert status()["state"] == "stopped" and status()["resumable"] and status()["exit_code"] == 75
    assert not Path("out/run.lock").exists() and not Path("out/results/spikes.h5").exists()
    assert 1 <= len(list(Path("out/checkpoints/spikes").glob("0*"))) <= 3
    assert f"{number}: saved at" in Path("out/log.txt").read_text() and "dist-sim resume out" in capsys.readouterr().err

    Path("script.py").write_text(SCRIPT.replace("seed=1", "seed=2"))
    assert main(["resume", "out"]) == 64
    told = capsys.readouterr().err
    assert "seed: 1 then, 2 now" in told and "script: xxh3 " in told and "--allow-changed" in told
    Path("script.py").write_text(SCRIPT)

    assert main(["resume", "out"]) == 0
    assert status()["state"] == "done"
    resumed = capsys.readouterr()
    assert "resumed at" in resumed.err and "resumed at 0 ms" not in resumed.err
    assert main(["run", script, "--out", "whole", "--set", f"signal={number}"]) == 0
    whole = capsys.readouterr().out
    assert next(line for line in whole.splitlines() if "digest" in line) in resumed.out
    assert Path("out/results/spikes.h5").read_bytes() == Path("whole/results/spikes.h5").read_bytes()

    assert main(["resume", "out"]) == 0
    assert "this run is done" in capsys.readouterr().err


def test_a_script_that_was_moved_goes_on_from_any_folder(script, capsys, tmp_path, monkeypatch):
    """Begun by a link, resumed under another name from elsewhere: it works in the folder in which it began."""
    Path("link.py").symlink_to(script)
    assert main(["run", "link.py", "--out", "out", "--checkpoint-every", "0s"]) == 75
    assert Path("out/script.py").read_text() == SCRIPT
    (tmp_path / "other").mkdir()
    Path(script).rename("other/renamed.py")
    monkeypatch.chdir(tmp_path / "other")
    capsys.readouterr()
    assert main(["resume", "../out"]) == 64
    told = capsys.readouterr().err
    assert f"{tmp_path}/script.py: there is no such script" in told and "--script FILE.py" in told and "out/script.py" in told
    assert main(["resume", "../out", "--script", "renamed.py"]) == 0
    assert Path.cwd() == tmp_path and not Path("other/asked").exists()
    said = capsys.readouterr()
    assert "resumed at" in said.err and "resumed at 0 ms" not in said.err
    assert json.loads(Path("out/config.json").read_text())["script"] == f"{tmp_path}/other/renamed.py"
    assert main(["run", "other/renamed.py", "--out", "whole"]) == 0
    assert Path("out/results/spikes.h5").read_bytes() == Path("whole/results/spikes.h5").read_bytes()


def test_the_copy_in_the_run_directory_can_be_resumed_and_a_lost_folder_is_told(script, capsys, tmp_path, monkeypatch):
    Path("begun").mkdir()
    monkeypatch.chdir("begun")
    Path("asked").touch()
    assert main(["run", "../script.py", "--out", "../out", "--max-hours", "0"]) == 75
    monkeypatch.chdir(tmp_path)
    Path("begun/asked").unlink()
    Path("begun").rmdir()
    Path("script.py").unlink()
    Path("asked").touch()
    capsys.readouterr()
    assert main(["resume", "out", "--script", "out/script.py"]) == 0
    assert f"warning: {tmp_path}/begun, where this run began: No such file" in capsys.readouterr().err
    assert Path("out/script.py").read_text() == SCRIPT


def test_a_time_limit_also_ends_what_comes_before_the_first_step(script, capsys):
    Path("asked").touch()
    assert main(["run", script, "--out", "out", "--max-hours", "0"]) == 75
    assert status()["state"] == "stopped" and not Path("out/spikes").exists()
    assert main(["resume", "out"]) == 0
    assert status()["state"] == "done" and "there is no checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_files_have_the_rights_that_the_umask_leaves(script, umask):
    """In a folder of a group, a colleague can go on with a run; where nobody else may read, nobody can."""
    before = os.umask(umask)
    try:
        assert main(["run", script, "--out", "out", "--checkpoint-every", "0s"]) in (75, 0)
    finally:
        os.umask(before)
    found = [(path, path.stat().st_mode & 0o777) for path in Path("out").rglob("*")]
    wrong = [f"{path}: {mode:o}" for path, mode in found if mode | 0o111 != (0o777 & ~umask) | 0o111]
    assert len(found) > 10 and not wrong


def test_a_script_by_another_name_is_the_same(script, capsys):
    Path("link.py").symlink_to("script.py")
    assert main(["run", "link.py", "--out", "out", "--checkpoint-every", "0s"]) == 75
    assert main(["resume", "out"]) == 0 and "resumed at" in capsys.readouterr().err


def test_a_script_may_change_its_working_directory(tmp_path, monkeypatch, capsys):
    """What the command line named stays what it was, in a run and in one that is resumed."""
    monkeypatch.chdir(tmp_path)
    Path("elsewhere").mkdir()
    there = SCRIPT.replace("sim = ", "os.chdir('elsewhere')\nsim = ").replace('list(Path("out', 'list(Path("../out')
    Path("script.py").write_text(there)
    assert main(["run", "script.py", "--out", "out", "--checkpoint-every", "0s"]) == 75
    os.chdir(tmp_path)
    assert "dist-sim resume out" in capsys.readouterr().err and not list(Path("elsewhere").iterdir())
    assert main(["resume", "out"]) == 0
    os.chdir(tmp_path)
    assert Path("out/results/spikes.h5").exists() and not list(Path("elsewhere").iterdir())


@pytest.mark.parametrize("late", ["os.kill(os.getpid(), signal.SIGTERM)", "session.current_session().stop._deadline = 0.0"])
def test_a_script_that_comes_to_its_end_is_done(tmp_path, monkeypatch, capsys, late):
    """A signal, or the end of its time, in the analysis after the last step: all results are there, and nothing is run again."""
    monkeypatch.chdir(tmp_path)
    Path("modules.py").write_text(MODULES.replace("LATE", late))
    assert main(["run", "modules.py", "--out", "out"]) == 0
    assert status()["state"] == "done" and not status()["resumable"]
    printed = capsys.readouterr().out
    assert json.loads(Path("out/summary.json").read_text())["spikes"] > 10 and "analysed" in printed
    with h5py.File("out/results/spikes.h5") as file:
        assert list(file["spikes"]) == ["cells"]


def test_ctrl_c_twice_ends_at_once(capsys):
    stop = Stop()
    with stop.listening():
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.reason() == "SIGINT" and "Once more" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with (stop := Stop()).listening():
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.reason() is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_safe_points():
    stop = Stop(100.0)
    stop.poll()
    assert stop.reason() is None and stop.reason(margin=101.0) == "the limit of 100 s of wall time"
    with stop.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reason() == "SIGTERM"
    with pytest.raises(Stopped) as stopped:
        stop.poll()
    assert stopped.value.code == 75


def test_a_signal_before_a_run_has_begun(capsys):
    with pytest.raises(Stopped) as stopped, leaving():
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(10)
    assert stopped.value.code == 75 and "SIGUSR1 before the run began" in capsys.readouterr().err
    # What takes long to import comes after the first line that listens.
    words = [sys.executable, "-c", "import sys, dist_sim.__main__; print({'jax', 'numpy', 'orbax'} & set(sys.modules))"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "set()\n"


def test_nothing_to_resume(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    assert main(["resume", "empty"]) == 74
    assert "is no run directory" in capsys.readouterr().err
    RunDirectory("begun").update_status(state="running")
    Path("begun/run.lock").unlink()
    assert main(["resume", "begun"]) == 74
    assert "no config.json" in capsys.readouterr().err


# ---- damaged files ----

COMPILING = """
import os, signal
from brainevent._error import CompilationError
from dist_sim.kernels import backend

def ended(*_, **__):
    os.kill(os.getpid(), signal.SIGTERM)
    raise CompilationError("C++ compilation failed")

backend.load_cpp_file = ended
backend.compiled.cache_clear()
backend.library()
"""


@pytest.fixture
def stopped(tmp_path, monkeypatch, capsys):
    """A run that was stopped."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(SCRIPT)
    Path("asked").touch()  # it stops for --max-hours alone
    assert main(["run", "net.py", "--out", "out", "--max-hours", "0"]) == 75
    capsys.readouterr()
    return Path("out")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"x"', '{"state": 3}'])
def test_a_damaged_status_does_not_matter(stopped, text):
    (stopped / "status.json").write_text(text)
    assert main(["resume", str(stopped)]) == 0
    assert json.loads((stopped / "status.json").read_text())["state"] == "done"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("", "cannot be read"),
        ("[]", r"holds '\[\]', and names with values are needed"),
        ("3", "holds '3'"),
        ("null", "holds 'None'"),
        ({"script": 3}, "no config.json that names a script"),
        ({"devices": "two"}, "devices is 'two'"),
        ({"arguments": 4}, "arguments is 4"),
        ({"set": ["a"]}, r"set is \['a'\]"),
        ({"set": {"a": 1}}, "set is {'a': 1}"),
        ({"folder": 1}, "folder is 1"),
        ({"checkpoints": 3}, "checkpoints is 3"),
        ({"checkpoints": {"nonsense": 1}}, "checkpoints is {'nonsense': 1}"),
        ({"checkpoints": {"every": "a"}}, "checkpoints is {'every': 'a'}"),
    ],
)
def test_a_damaged_config_is_refused(stopped, capsys, change, said):
    file = stopped / "config.json"
    file.write_text(change if isinstance(change, str) else json.dumps(json.loads(file.read_text()) | change))
    assert main(["resume", str(stopped)]) == 74
    errors = capsys.readouterr().err
    assert re.search(said, errors) and errors.startswith("dist-sim: OutputError: ") and "Traceback" not in errors, errors


def test_a_signal_that_ends_the_compiler_too_is_a_stop(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(COMPILING)
    try:
        assert main(["run", "net.py", "--out", "out"]) == 75
    finally:
        backend.load_cpp_file = load_cpp_file
        backend.compiled.cache_clear()
    assert "compilation" not in capsys.readouterr().err + Path("out/log.txt").read_text()
    Path("net.py").write_text(COMPILING.replace("    os.kill(os.getpid(), signal.SIGTERM)\n", ""))
    try:
        assert main(["run", "net.py", "--out", "failed"]) == 70
    finally:
        backend.load_cpp_file = load_cpp_file
        backend.compiled.cache_clear()
    assert "C++ compilation failed" in capsys.readouterr().err
