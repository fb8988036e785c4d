"""The command line, with scripts in which a few lines stand for the Simulator."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import brainunit as u
import pytest

import dist_sim
import dist_sim as ds
from dist_sim.__main__ import main
from dist_sim.commands.meeting import code_files
from dist_sim.errors import ParameterError
from dist_sim.run.stop import Stop

SIMULATE = """
import numpy as np
from dist_sim.run.recording import Recording
from dist_sim.run.session import current_session, param
from dist_sim.run.summary import build_summary

def simulate(seed=0):
    session = current_session()
    recording = Recording(session.directory if session else None, 0.1)
    random = np.random.default_rng(seed)
    for step in range(0, 1000, 100):
        steps, ids = np.nonzero(random.random((100, 50)) < 0.01)
        recording.append(step, step + 100, steps + step, ids)
    recording.close()
    populations = [("exc", 0, 40), ("inh", 40, 10)]
    summary = build_summary(
        model_time_ms=100.0, wall_s=0.5, build_s=0.1, neurons=50, synapses=100, synapse_bytes=800, populations=populations,
        recording=recording, events=(10, 8, 2), exchange="mask", phases={"connect": 0.1}, devices=1,
        peak_rss=[1])
    if session:
        session.finish(session.enroll(None), summary, populations=populations, recording=recording)
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """script(text): the path of a script with this text, in the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "script.py") -> str:
        Path(name).write_text(SIMULATE + text)
        return name

    return write


def test_a_run_leaves_its_directory_and_a_summary(script, capsys):
    name = script("import sys\nprint(sys.argv, __name__, param('scale', 1.0), param('n', 3))\nsimulate()")
    assert main(["run", name, "--out", "out", "--set", "scale=2", "--", "a", "--b"]) == 0
    printed = capsys.readouterr()
    assert "['script.py', 'a', '--b'] __main__ 2.0 3" in printed.out
    out = Path("out")
    summary = json.loads((out / "summary.json").read_text())
    assert {
        "model_time_ms", "wall_s", "rtf", "build_s", "neurons", "synapses", "bytes_per_synapse", "peak_rss_bytes", "spikes",
        "events", "rates", "phases", "devices", "processes", "versions", "digest", "emitted_events", "delivered_events",
        "in_flight_events", "cv",
    } <= set(summary)  # fmt: skip
    assert summary["rtf"] == 5.0 and summary["rates"].keys() == {"exc", "inh"}
    assert summary["digest"] in printed.out and "none lost" in printed.out
    assert json.loads((out / "config.json").read_text())["parameters"] == {"scale": 2.0, "n": 3}
    assert json.loads((out / "status.json").read_text())["state"] == "done"
    assert not (out / "run.lock").exists() and (out / "results" / "spikes.h5").exists()
    assert main(["digest", "out"]) == 0
    assert capsys.readouterr().out == summary["digest"] + "\n"


def test_the_summary_is_that_of_the_last_simulate(script, capsys):
    assert main(["run", script("simulate(1)\nsimulate(2)"), "--out", "two"]) == 0
    assert main(["run", script("simulate(2)"), "--out", "one"]) == 0
    capsys.readouterr()
    assert main(["digest", "one"]) == main(["digest", "two"]) == 0
    alone, _, _, last, name = capsys.readouterr().out.split()
    assert last == alone == json.loads(Path("two/summary.json").read_text())["digest"] and name == "run-2"


def test_without_a_simulate_there_is_no_summary(script):
    assert main(["run", script("pass"), "--out", "out"]) == 0
    assert not Path("out/summary.json").exists()


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("from dist_sim.errors import ParameterError\nraise ParameterError('tau_m: is NaN')", 64, "Error: tau_m: is NaN"),
        ("from dist_sim.errors import UnknownNameError\nraise UnknownNameError('model', 'x', [])", 64, "unknown model 'x'"),
        ("from dist_sim.errors import DeviceError\nraise DeviceError('8 asked for')", 64, "8 asked for"),
        ("from dist_sim.errors import NumericalError\nraise NumericalError('V is NaN')", 70, "V is NaN"),
        ("from dist_sim.errors import OutputError\nraise OutputError('disk full')", 74, "disk full"),
        ("param('scale', 1.0)\n1 / 0", 70, "ZeroDivisionError"),
        ("raise ValueError('own bug')", 70, "own bug"),
        ("import sys\nsys.exit(3)", 3, ""),
        ("import sys\nsys.exit('stopped')", 1, "stopped"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
    ],
)
def test_exit_codes_of_a_script(script, capfd, text, code, told):
    name = script(text)
    assert main(["run", name, "--out", "out"]) == code
    error = capfd.readouterr().err
    assert told in error
    # A mistake is told with the line of the script; a bug with the script's part of the traceback.
    assert ("Traceback" in error) == ("own bug" in text or "1 / 0" in text)
    assert "runpy" not in error
    if "ParameterError" in text:
        assert "script.py, line" in error
    status = json.loads(Path("out/status.json").read_text())
    assert status["exit_code"] == code and status["state"] == ("interrupted" if code == 130 else "failed")


def test_debug_shows_the_traceback(script, capfd):
    name = script("from dist_sim.errors import ParameterError\nraise ParameterError('bad')")
    assert main(["run", name, "--out", "out", "--debug"]) == 64
    assert "Traceback" in capfd.readouterr().err


def test_a_parameter_that_was_never_asked_for_is_told_at_the_end(script, capfd):
    # The name is computed, so that only the run can tell.
    name = script("for name in ('a', 'b'):\n    param(name, 1)\nsimulate()")
    assert main(["run", name, "--out", "out", "--set", "c=1"]) == 64
    assert "unknown parameter 'c'" in capfd.readouterr().err
    assert Path("out/results/spikes.h5").exists()


def test_a_script_finds_the_modules_beside_it(script, tmp_path):
    Path("sub").mkdir()
    Path("sub/beside_the_script.py").write_text("X = 1")
    before = list(sys.path), list(sys.argv)
    name = script("import beside_the_script", "sub/script.py")
    assert main(["run", name, "--out", "out"]) == 0
    assert before == (sys.path, sys.argv)


def test_a_syntax_error_is_told_alone(script, capfd):
    assert main(["run", script("for"), "--out", "out"]) == 70
    error = capfd.readouterr().err
    assert "SyntaxError" in error and "Traceback" not in error


def test_after_a_mistake_the_same_command_works(script):
    assert main(["run", script("raise ValueError"), "--out", "out"]) == 70
    assert main(["run", script("simulate()"), "--out", "out"]) == 0


def test_spikes_are_kept_when_the_script_fails_afterwards(script):
    assert main(["run", script("simulate()\n1 / 0"), "--out", "out"]) == 70
    assert Path("out/results/spikes.h5").exists() and Path("out/summary.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["run", "nothing.py"], 64, "unknown script"),
        (["run"], 64, "Usage"),
        (["run", "script.py", "--devices", "0"], 64, "--devices"),
        (["run", "script.py", "--device", "2"], 64, "No such option"),
        (["run", "script.py", "--set", "scale"], 64, "must be name=value"),
        (["run", "script.py", "--set", "scael=2"], 64, "Did you mean 'scale'"),
        (["run", "script.py", "--set", "scale=big"], 64, "needs a number"),
        (["run", "script.py", "--out", "script.py"], 74, "cannot be made"),
        (["digest", "nowhere"], 64, "does not exist"),
        (["digest", "."], 74, "no run directory"),
        (["nonsense"], 64, "No such command"),
    ],
)
def test_bad_input_is_refused(script, capfd, arguments, code, told):
    script("scale = param('scale', 1.0)\nsimulate()")
    assert main(arguments) == code
    printed = capfd.readouterr()
    assert told in printed.err + printed.out and "Traceback" not in printed.err
    assert not list(Path().rglob("summary.json"))


def test_an_existing_run_is_refused_before_the_script_runs(script, capfd):
    assert main(["run", script("simulate()"), "--out", "out"]) == 0
    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    assert main(["run", script("print('RAN')\nsimulate()"), "--out", "out"]) == 74
    printed = capfd.readouterr()
    assert "already holds a run" in printed.err and "RAN" not in printed.out
    assert before == {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}


def test_help_lists_the_parameters_of_a_script(script, capsys):
    script("raise SystemExit('not run')\nscale = param('scale', 0.5)")
    for arguments in (["run", "--help", "script.py"], ["run", "script.py", "--help"]):
        assert main(arguments) == 0
        printed = capsys.readouterr().out
        assert "--devices" in printed and "scale  0.5" in printed


def test_a_digest_that_differs_from_the_summary_is_an_error(script, capsys):
    assert main(["run", script("simulate()"), "--out", "out"]) == 0
    (segment,) = Path("out/spikes").iterdir()
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-1])
    assert main(["digest", "out"]) == 74
    assert "torn" in capsys.readouterr().err
    segment.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert main(["digest", "out"]) == 74
    assert "damaged" in capsys.readouterr().err


def run_alone(*arguments: str) -> subprocess.CompletedProcess:
    """`dist-sim run` in a process of its own."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "dist_sim", "run", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


def test_devices_are_set_before_jax_starts(script):
    name = script("import jax\nprint(jax.device_count(), 'devices')")
    done = run_alone(name, "--devices", "3", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert "3 devices" in done.stdout


def test_a_killed_run_keeps_its_spikes(script, capsys):
    die = "import os, signal\nRecording.close = lambda self: os.kill(os.getpid(), signal.SIGKILL)\nsimulate()"
    assert run_alone(script(die), "--out", "killed").returncode == -9
    assert main(["run", script("simulate()"), "--out", "whole"]) == 0
    capsys.readouterr()
    assert main(["digest", "killed"]) == main(["digest", "whole"]) == 0
    killed, whole = capsys.readouterr().out.split()
    assert killed == whole
    # Nobody knows whether it is alive: its directory is not taken over.
    assert main(["run", script("simulate()"), "--out", "killed"]) == 74


def test_processes_compare_all_code_kernels_too():
    package = Path(dist_sim.__file__).parent
    found = {path.relative_to(package).as_posix() for path in code_files()}
    assert {"__init__.py", "core/state.py", "partition/mesh.py", "kernels/cpp/kernels.cpp", "cluster/launch.py"} <= found


FIVE = """
import brainunit as u
import jax.numpy as jnp
import dist_sim as ds

def network(seed, **options):
    sim = ds.Simulator(seed=seed, **options)
    cells = sim.create(ds.iaf_psc_exp, 5, params=dict(V_m=ds.dist.Uniform(-70 * u.mV, -60 * u.mV), I_e=500 * u.pA))
    sim.connect(cells, sim.create(ds.spike_recorder))
    print("digest", sim.simulate(60 * u.ms).digest)

network(1, name="first")
network(2)
network(1, name="first")
ds.random.seed(1)
with ds.environ.context(dt=0.1 * u.ms):
    cells = ds.nn.init_all_states(ds.LIF(4, V_th=15 * u.mV, tau=10 * u.ms))
    run = ds.Run(lambda: cells(ds.random.uniform(20.0, 30.0, 4) * u.mA), record={"cells": cells}, name="modules")
print("digest", run.advance(60 * u.ms).digest)
total = ds.State(jnp.zeros(()))
for k in ds.resumable(range(6), total=total):
    total.value = total.value + k
print("total", total.value)
"""
RUNS = ["first", "run-2", "first-2", "modules"]


def said_by_script(printed: str) -> list[str]:
    """Lines of digests and of the total, without those of the summaries."""
    return re.findall(r"^(?:digest|total) \S+$", printed, re.MULTILINE)


def five(script, *more: str):
    script(FIVE, name="five.py")
    return main(["run", "five.py", "--out", "out", *more])


def test_each_run_of_a_script_has_results_of_its_own(script, capsys):
    assert five(script) == 0
    printed = capsys.readouterr().out
    digests = [line.split()[1] for line in said_by_script(printed)[:4]]
    assert len(set(digests)) == 3 and digests[0] == digests[2] and "total 15.0" in printed
    for name, digest in zip(RUNS, digests, strict=True):
        assert json.loads(Path(f"out/results/{name}/summary.json").read_text())["digest"] == digest
        assert Path(f"out/results/{name}/spikes.h5").exists() and f"run {name}" in printed
    assert main(["digest", "out"]) == 0
    assert capsys.readouterr().out.split() == [word for pair in zip(digests, RUNS, strict=True) for word in pair]
    Path("out/results/run-2/spikes.h5").unlink()
    assert main(["export", "out"]) == 0 and Path("out/results/run-2/spikes.h5").exists()
    assert main(["export", "out", "--run", "modules", "--file", "some.h5"]) == 0 and Path("some.h5").exists()
    assert main(["export", "out", "--file", "some.h5"]) == 64 and "first, run-2, first-2, modules" in capsys.readouterr().err
    assert main(["export", "out", "--run", "module"]) == 64 and "'modules'?" in capsys.readouterr().err


@pytest.mark.parametrize("stopped_in", range(5))
def test_a_script_of_five_goes_on_in_the_one_that_was_stopped(script, capsys, monkeypatch, stopped_in):
    """Every one has the results of the unbroken script."""
    asked = {"calls": 0}

    def reason(self, margin=0.0):
        asked["calls"] += 1
        return "test" if asked["calls"] == stopped_in + 1 + (stopped_in == 4) else None

    with monkeypatch.context() as patch:
        patch.setattr(Stop, "reason", reason)
        patch.setattr(Stop, "poll", lambda self: None)
        assert five(script, "--checkpoint-every", "never") == 75
    capsys.readouterr()
    assert main(["resume", "out"]) == 0
    resumed = capsys.readouterr().out
    assert main(["run", "five.py", "--out", "whole"]) == 0
    wanted = said_by_script(capsys.readouterr().out)
    assert said_by_script(resumed) == wanted and len(wanted) == 5
    for name in RUNS:
        assert Path(f"out/results/{name}/spikes.h5").read_bytes() == Path(f"whole/results/{name}/spikes.h5").read_bytes()


@pytest.mark.parametrize("name", ["L2/3E", "", "..", " cells", "a\nb", "x" * 300, 3])
def test_a_name_that_no_file_can_bear_is_refused(name):
    sim = ds.Simulator()
    calls = (
        lambda: sim.create(ds.iaf_psc_exp, 3, name=name),
        lambda: ds.Simulator(name=name),
        lambda: ds.Run(lambda: None, record={name: lambda: True}),
        lambda: ds.Run(lambda: None, name=name),
    )
    for call in calls:
        with ds.environ.context(dt=0.1 * u.ms), pytest.raises(ParameterError, match="files bear this name"):
            call()
