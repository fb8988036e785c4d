"""The exchange `mpi` under mpirun of MPICH and of Open MPI: one gather per interval inside the step, the spikes of one device."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import brainunit as u
import numpy as np
import pytest
from laws.networks import brunel

from dist_sim.errors import DeviceError
from dist_sim.partition import exchange as exchanges
from dist_sim.partition.exchange import EXCHANGES, all_gather_memory, all_gather_mpi, usual_exchange
from dist_sim.partition.mesh import neuron_mesh

pytestmark = pytest.mark.alone

OPEN_MPI = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1"}
LAUNCHERS = {"mpich": (Path(sys.executable).with_name("mpirun"), {}), "openmpi": (shutil.which("mpirun.openmpi"), OPEN_MPI)}
# Two processes with two devices each, seen from the first one.
FOUR = SimpleNamespace(size=4, devices=np.array([SimpleNamespace(process_index=k, platform="cpu") for k in (0, 0, 1, 1)]))

SCRIPT = """
import json
import brainunit as u
import jax
import numpy as np
from laws.networks import brunel
import dist_sim as ds

sim = brunel(exchange=ds.param("exchange", "") or None)
sim.simulate(10 * u.ms)
digest = sim.cont(10 * u.ms).digest
loop = sim._simulation.loop.advance
text = loop.lower(np.int32(0), np.int32(0)).compile().as_text()
found = {
    "digest": digest, "calls": text.count('custom_call_target="dist_sim.gather"'),
    "collectives": sum(text.count(name) for name in ("all-gather", "all-reduce", "all-to-all", "collective-")),
}
open(f"seen-{jax.process_index()}", "w").write(json.dumps(found))
"""
MODULES = """
import json
import brainunit as u
import jax
import jax.numpy as jnp
import dist_sim as ds
from dist_sim.partition.exchange import meeting_of

class Net(ds.Module):
    def __init__(self):
        super().__init__()
        self.cells = ds.LIF(1000, V_th=15 * u.mV, tau=20 * u.ms, V_initializer=ds.init.Uniform(0.0, 15.0, unit=u.mV))
        comm = ds.nn.EventFixedProb(1000, 1000, 0.05, ds.init.Normal(0.5, 0.1, unit=u.mS), seed=3)
        self.proj = ds.AlignPostProj(
            comm=comm, syn=ds.Expon.desc(1000, tau=5 * u.ms), out=ds.CUBA.desc(scale=u.volt), post=self.cells
        )

    def update(self):
        spikes = self.cells.get_spike()
        self.proj(jnp.where(jnp.arange(1000) < 800, spikes, -4 * spikes))
        self.cells(16 * u.mA)

ds.random.seed(1)
with ds.use_mesh() as mesh, ds.environ.context(dt=0.1 * u.ms):
    net = ds.nn.init_all_states(Net())
    run = ds.Run(net.update, record={"cells": net.cells})
    run.advance(30 * u.ms)
    result = run.advance(20 * u.ms)
meeting = meeting_of(mesh, None)
found = {"digest": result.digest, "processes": None if meeting is None else meeting.processes}
open(f"seen-{jax.process_index()}", "w").write(json.dumps(found))
"""
ENDING = """
import os, signal
import brainunit as u
import jax
from laws.networks import brunel
import dist_sim as ds
from dist_sim.run.loop import ChunkedLoop

run = ChunkedLoop._run
chunks = []

def run_and_end(self, first, last):
    chunks.append(first)
    if len(chunks) == 4 and jax.process_index() == 1:
        # The other process waits for this one by then, or soon, and it will not come.
        if ds.param("how", "raise") == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError("this one raises")
    run(self, first, last)

ChunkedLoop._run = run_and_end
brunel(chunk=3 * u.ms).simulate(600 * u.ms)
"""


@pytest.fixture
def start(checkout, tmp_path):
    """Runs a script by two processes, under a launcher or without one; gives the exit code, what was printed, and the seconds."""

    def run(launcher, script, *options, timeout=150):
        (tmp_path / "script.py").write_text(script)
        mpirun, more = LAUNCHERS[launcher]
        if mpirun is None or not Path(mpirun).exists():
            pytest.skip(
                "no mpirun: pip install mpich" if launcher == "mpich" else "no mpirun.openmpi: apt-get install openmpi-bin"
            )
        pytest.importorskip("mpi4py")
        path = os.pathsep.join(map(str, (checkout, checkout / "tests", checkout / "examples" / "benchmarks")))
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": path} | more
        environment.pop("JAX_NUM_CPU_DEVICES", None)
        line = [str(mpirun), "-n", "2", sys.executable, "-m", "dist_sim", "run", "script.py", "--out", "out", *options]
        begin = time.monotonic()
        done = subprocess.run(line, cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=timeout)
        return done.returncode, done.stdout + done.stderr, time.monotonic() - begin

    return run


@pytest.mark.parametrize(("launcher", "devices"), [("mpich", 4), ("openmpi", 2)])
def test_the_step_calls_mpi_and_gives_the_spikes_of_one_device(start, tmp_path, launcher, devices):
    code, said, _ = start(launcher, SCRIPT, "--devices", str(devices))
    assert code == 0, said
    wanted = brunel(devices=1).simulate(20 * u.ms)
    assert wanted.summary["spikes"] > 30, "a silent network proves nothing"
    for process in range(2):
        found = json.loads((tmp_path / f"seen-{process}").read_text())
        assert found == {"digest": wanted.digest, "calls": 1, "collectives": 0}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    # Nobody has asked for it: under mpirun it is the usual exchange.
    assert (summary["exchange"], summary["devices"], summary["processes"]) == ("mpi", devices, 2)


# By what the processes meet: memory of the machine, MPI as between machines, or both, as much as fits going by memory.
MEETING = {
    "memory": "",
    "mpi": """
from dist_sim.partition.exchange import all_gather_mpi
all_gather_mpi.shared_memory = lambda communicator, size: None
""",
    "both": """
from dist_sim.kernels import gather
gather._CAPACITY = 64
""",
}


@pytest.mark.parametrize("how", MEETING)
def test_modules_of_two_processes_give_the_spikes_of_one_device(start, checkout, tmp_path, how):
    code, said, _ = start("mpich", MEETING[how] + MODULES)
    assert code == 0, said
    both = [json.loads((tmp_path / f"seen-{process}").read_text()) for process in range(2)]
    assert both[0] == both[1] and both[0]["processes"] == 2
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "script.py").write_text(MODULES)
    line = [sys.executable, "script.py"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(checkout)}
    subprocess.run(line, cwd=tmp_path / "alone", check=True, env=environment)
    alone = json.loads((tmp_path / "alone" / "seen-0").read_text())
    assert alone == {"digest": both[0]["digest"], "processes": None}
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["spikes"] > 500


@pytest.mark.parametrize("by", ["memory", "mpi"])
@pytest.mark.parametrize("how", ["raise", pytest.param("kill", marks=pytest.mark.slow)])
def test_a_process_that_waits_for_another_ends_with_it(start, tmp_path, how, by):
    code, said, seconds = start("mpich", MEETING[by] + ENDING, "--set", f"how={how}")
    assert code != 0 and seconds < 100, said
    if how == "raise":
        assert code == 70 and said.count("ValueError: this one raises") == 1, said
        status = json.loads((tmp_path / "out" / "status.json").read_text())
        assert (status["state"], status["exit_code"]) == ("failed", 70)


@pytest.fixture
def second_of_two(monkeypatch):
    """seen(world): as the second of two processes of CPUs, with an mpi4py whose world this is; None: there is no mpi4py."""

    def seen(world, threads=3):
        processes = SimpleNamespace(count=2, index=1, gather=lambda values: np.stack([np.zeros_like(values), values]))
        monkeypatch.setattr(all_gather_mpi, "processes_of", lambda mesh: processes)
        monkeypatch.setattr(exchanges, "processes_of", lambda mesh: processes)
        mpi = SimpleNamespace(
            COMM_WORLD=world, Is_initialized=lambda: True, Query_thread=lambda: threads, THREAD_SERIALIZED=2,
        )  # fmt: skip
        monkeypatch.setitem(sys.modules, "mpi4py", None if world is None else SimpleNamespace(MPI=mpi))
        monkeypatch.setitem(sys.modules, "mpi4py.MPI", None if world is None else mpi)

    return seen


RANK_1 = SimpleNamespace(size=2, rank=1)


@pytest.mark.parametrize(
    ("world", "threads", "said"),
    [
        (None, 3, "no mpi4py.*pip install"),
        (SimpleNamespace(size=1, rank=0), 3, "mpirun -n N dist-sim run"),  # started by nobody, or by srun without --mpi
        (SimpleNamespace(size=2, rank=0), 3, "mpirun -n N dist-sim run"),
        (RANK_1, 1, "thread_level"),
    ],
)
def test_what_one_process_cannot_do_is_refused_with_what_to_do(second_of_two, world, threads, said):
    second_of_two(world, threads)
    with pytest.raises(DeviceError, match=rf"process 1 \(1 of 2 processes\): .*{said}.*exchange='mask'"):
        EXCHANGES["mpi"].on(FOUR)
    assert usual_exchange(FOUR) == "mask"


def test_the_usual_exchange_starts_no_mpi(second_of_two, monkeypatch):
    second_of_two(RANK_1)
    assert usual_exchange(FOUR) == "mpi"
    monkeypatch.delitem(sys.modules, "mpi4py.MPI")  # a program that has not begun to use it
    assert usual_exchange(FOUR) == "mask"


@pytest.mark.parametrize(
    ("owners", "platform", "said"),
    [((0, 0, 1, 1), "cuda", "devices are 'cuda'"), ((0, 1, 0, 1), "cpu", "order of processes"), ((0, 0, 0, 1), "cpu", "equally")],
)
def test_devices_that_mpi_cannot_join_are_refused(second_of_two, owners, platform, said):
    second_of_two(RANK_1)
    devices = np.array([SimpleNamespace(process_index=k, platform=platform) for k in owners])
    with pytest.raises(DeviceError, match=said):
        EXCHANGES["mpi"].on(SimpleNamespace(size=4, devices=devices))


def test_one_process_needs_no_mpi(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert [usual_exchange(neuron_mesh(devices)) for devices in (1, 2)] == ["mask", "memory"]
    sims = [brunel(devices=2, exchange=exchange) for exchange in ("mpi", "mask")]
    assert len({sim.simulate(10 * u.ms).digest for sim in sims}) == 1


@pytest.mark.parametrize("exchange", ["memory", "mpi"])
def test_without_a_compiler_there_are_masks(monkeypatch, exchange):
    monkeypatch.setenv("PATH", "")
    assert usual_exchange(neuron_mesh(2)) == "mask"
    with pytest.raises(DeviceError, match=r"no g\+\+ or clang\+\+.*exchange='mask'"):
        EXCHANGES[exchange].on(neuron_mesh(2))


def test_processes_share_no_memory(monkeypatch):
    monkeypatch.setattr(all_gather_memory, "processes_of", lambda mesh: SimpleNamespace(count=2))
    with pytest.raises(DeviceError, match="2 processes.*exchange='mpi'"):
        EXCHANGES["memory"].on(FOUR)
