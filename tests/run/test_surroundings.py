"""What surrounds a run: a home that cannot be written, a platform without plugin, modules of one's own, forks, empty caches."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dist_sim.kernels import backend, cache, unannounced

pytestmark = pytest.mark.alone

SCRIPT = """
import brainunit as u
import dist_sim as ds

def spikes(seed):
    sim = ds.Simulator(dt=0.1 * u.ms, seed=seed)
    cells, recorder = sim.create(ds.iaf_psc_delta, 20, name="cells"), sim.create(ds.spike_recorder)
    noise = sim.create(ds.poisson_generator, rate=25_000 * u.Hz)
    sim.connect(noise, cells, weight=0.3 * u.mV)
    sim.connect(cells, recorder)
    return sim.simulate(20 * u.ms).summary["spikes"]
"""


@pytest.fixture
def python(checkout, tmp_path):
    """Runs Python in a folder with the script."""
    (tmp_path / "script.py").write_text(SCRIPT + "print(spikes(1), 'spikes')\n")

    def run(*words, without=(), **environment):
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(checkout)} | environment
        environment = {name: value for name, value in environment.items() if name not in without}
        return subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=200
        )

    return run


RUN = ("-m", "dist_sim", "run", "script.py")


def test_a_home_that_cannot_be_written(python):
    homeless = {"without": ("BRAINEVENT_CACHE_DIR", "XDG_CACHE_HOME"), "HOME": "/dev/null/home"}
    done = python(*RUN, **homeless)
    assert done.returncode == 0 and "spikes" in done.stdout, done.stderr
    assert (
        done.stderr.count("/dev/null/home/.cache/brainevent cannot be made: Not a directory: compiled kernels are kept in") == 1
    )
    assert "Traceback" not in done.stderr
    done = python("-c", "import dist_sim as ds; ds.Simulator", **homeless)
    assert done.returncode == 0 and "dist-sim" not in done.stderr, done.stderr
    done = python("-m", "dist_sim", "doctor", **homeless)
    assert "Traceback" not in done.stderr and "/dev/null/home/.cache cannot be made" in done.stdout, done.stderr + done.stdout


def test_a_temporary_folder_for_code_is_the_users_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(cache.tempfile, "mkdtemp", lambda prefix: str(tmp_path / "new"))
    own = cache._temporary()
    assert own == tmp_path / f"dist_sim-{os.getuid()}" == cache._temporary() and own.stat().st_mode & 0o777 == 0o700
    own.chmod(0o777)
    assert cache._temporary() == tmp_path / "new"
    own.rmdir()
    own.symlink_to("/tmp")
    assert cache._temporary() == tmp_path / "new"


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a GPU")
@pytest.mark.parametrize("first", ["", "import jax\njax.numpy.ones(3)\n"])
def test_a_platform_without_its_plugin(python, tmp_path, first):
    (tmp_path / "script.py").write_text(first + SCRIPT + "spikes(1)")
    done = python(*RUN, JAX_PLATFORMS="cuda")
    assert done.returncode == 64 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.startswith("dist-sim: DeviceError: JAX_PLATFORMS=cuda: JAX finds no such device")
    done = python("-m", "dist_sim", "doctor", JAX_PLATFORMS="cuda")
    assert "JAX finds none of JAX_PLATFORMS=cuda" in done.stdout and "AssertionError" not in done.stdout + done.stderr


def test_a_module_of_the_user_is_not_taken_for_that_of_a_library(python, tmp_path):
    """`python -m` puts the working directory first; libraries import statistics, signal and others."""
    for name in ("statistics", "signal", "json", "threading"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('this is not of the standard library')")
    for words in (RUN, ("-m", "dist_sim", "models"), ("-m", "dist_sim", "doctor")):
        done = python(*words)
        assert done.returncode == 0 and "standard library" not in done.stdout + done.stderr, done.stderr


FORKING = """
import multiprocessing

if __name__ == "__main__":
    if USED:
        spikes(1)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(spikes, [1, 2]))
"""


@pytest.mark.parametrize("used", [True, False])
def test_a_fork_after_the_first_use_is_refused(python, tmp_path, used):
    """It waited for ever, for threads that do not come along."""
    (tmp_path / "script.py").write_text(SCRIPT + FORKING.replace("USED", str(used)))
    done = python("script.py")
    assert (done.returncode == 0) == (not used), done.stderr
    assert ("multiprocessing.get_context('spawn')" in done.stderr) == used, done.stderr


def test_compiling_is_announced(capsys, monkeypatch):
    monkeypatch.setattr(cache, "_SAID_AFTER_S", 0.2)
    monkeypatch.setattr(backend, "load_cpp_file", lambda *_, **__: time.sleep(0.5))
    compiled = backend.compiled.__wrapped__
    compiled("kernels")
    assert capsys.readouterr().err.startswith(
        "dist-sim: compiles kernels, which are kept for the next time ...\ndist-sim: kernels: "
    )
    with unannounced():
        compiled("kernels")
    monkeypatch.setattr(backend, "load_cpp_file", lambda *_, **__: None)
    compiled("kernels")
    assert capsys.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_a_first_run_is_never_silent_for_long(checkout, python, tmp_path, devices):
    """With an empty cache, on any number of devices."""
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(checkout),
        "BRAINEVENT_CACHE_DIR": str(tmp_path / "cache"),
    }
    line = [sys.executable, *RUN, "--devices", str(devices)]
    process = subprocess.Popen(line, cwd=tmp_path, env=environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said, begin = [], time.monotonic()
    assert process.stderr is not None
    for text in process.stderr:
        said.append((time.monotonic() - begin, text))
    begun = [at for at, text in said if "..." in text]
    assert process.wait() == 0 and begun, said
    ended = [at for at, text in said if "done in" in text]
    # What lasts longer than 5 s lies between a line at its begin and one at its end.
    assert begun[0] < 10 and all(min([b - e for b in begun if b > e] or [0]) < 5 for e in ended), said
