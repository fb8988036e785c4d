"""Programs of Modules over several processes: the spikes, the weights and the words of one process."""

import json
import os
import re
import socket
import subprocess
import sys

import brainunit as u
import brette
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.core import environ, init_all_states, transform
from models.test_einet import EINet
from models.test_training import distance, leaves, trained

SCRIPT = """
import json
from models import test_processes

found = test_processes.{outcome}
(ds.results_folder() / "found.json").write_text(json.dumps([x.tolist() for x in found]))
print(len(found), "arrays")
"""


def spikes_and_weights():
    """The spikes of an EINet on the mesh of the run, and its weights before and after a step that makes them rarer."""
    ds.random.seed(3)
    with ds.use_mesh(), environ.context(dt=0.1 * u.ms):
        net = init_all_states(EINet(500, weighted=True))
        weights = net.states(ds.ParamState)
        optimizer = ds.optim.SGD(1e4).register_trainable_weights(weights)

        def rate():
            spikes = transform.for_loop(lambda: net.update(0.0 * u.ms, 20.0 * u.mA), length=200)
            return spikes.mean(), spikes

        @transform.jit
        def learn():
            before = {path: state.value for path, state in weights.items()}
            gradient, spikes = transform.grad(rate, weights, has_aux=True)()
            optimizer.update(gradient)
            return spikes, before, {path: state.value for path, state in weights.items()}

        return leaves(learn())


def sent_between_groups():
    """What arrives through synapses with the weight and the delay of their groups."""
    sizes = (100, 200), (170, 130)
    with ds.use_mesh(), environ.context(dt=0.1 * u.ms):
        weights = ds.init.Groups([[1.0, 2.0], [3.0, 4.0]] * u.mS, *sizes)
        delays = ds.init.Groups([[0.0, 0.3], [0.7, 0.2]] * u.ms, *sizes)
        comm = init_all_states(ds.nn.EventFixedProb(300, 300, 0.1, weights, conn_delay=delays, seed=1))
        spikes = np.random.default_rng(0).random((20, 300)) < 0.1
        return [np.asarray(transform.for_loop(comm, spikes).to_decimal(u.mS))]


@pytest.fixture
def start(checkout, tmp_path):
    """Starts a script by `dist-sim run`, as several processes; gives what waits for their end, and returns what each says and the
    folder of its own files."""
    running = []

    def run(script, processes, devices, *options):
        (tmp_path / "script.py").write_text(script)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        path = os.pathsep.join(map(str, (checkout, checkout / "tests", checkout / "examples")))
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
        line = [sys.executable, "-m", "dist_sim", "run", "script.py", "--out", "out", "--devices", str(devices), *options]
        for k in range(processes):
            where = ["--coordinator", address, "--processes", str(processes), "--process", str(k)]
            running.append(
                subprocess.Popen([*line, *where], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            )

        def end():
            said = [process.communicate(timeout=150) for process in running]
            assert [process.returncode for process in running] == [0] * processes, said
            folders = [tmp_path / "out" / name for name in ("results", *(f"results-{k}" for k in range(1, processes)))]
            return [out.decode() for out, _ in said], folders

        return end

    yield run
    for process in running:
        process.kill()


def found_in(folder):
    return [np.array(x) for x in json.loads((folder / "found.json").read_text())]


def test_processes_change_neither_spikes_nor_what_is_learnt(start):
    end = start("import dist_sim as ds" + SCRIPT.format(outcome="spikes_and_weights()"), 2, 2)
    spikes, *weights = spikes_and_weights()
    said, folders = end()
    assert 500 < spikes.sum() < 30_000, "a silent or a saturated network proves nothing"
    assert distance(weights[2:], weights[:2]) > 1e-2, "nothing was learnt"
    for folder in folders:
        found, *learnt = found_in(folder)
        assert np.array_equal(found, spikes)
        assert distance(learnt, weights) < 1e-6
    # What a script says is seen once.
    assert [out.count("5 arrays") for out in said] == [1, 0]


def test_each_process_knows_the_groups_of_all_synapses(start):
    end = start("import dist_sim as ds" + SCRIPT.format(outcome="sent_between_groups()"), 2, 2)
    (wanted,) = sent_between_groups()
    _, folders = end()
    assert len(np.unique(wanted)) > 20
    for folder in folders:
        assert np.array_equal(found_in(folder)[0], wanted)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_an_example_says_and_draws_what_it_does_in_one_process(checkout, start, processes):
    told = ["--set", "model=coba", "--set", "t_sim=30", "--set", "t_presim=0"]
    said, folders = start((checkout / "examples/brette.py").read_text(), processes, 4, *told)()
    (row,) = re.findall(r"(?m)^coba +(.*)$", "".join(said))
    wanted = brette.statistics(brette.simulate("coba", 1, 30.0))
    assert np.allclose([float(x) for x in row.split()], wanted, atol=0.006)
    assert all((folder / "brette_coba.png").stat().st_size > 10_000 for folder in folders)


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "mesh"), [(2, "2x2"), (4, "2x2"), (2, "1x4"), (2, "4x1")])
def test_weights_trained_on_processes_are_those_of_one(start, processes, mesh):
    end = start("import dist_sim as ds" + SCRIPT.format(outcome=f"trained({mesh!r}, 64, 5)[0]"), processes, 4)
    wanted, _ = trained("1", 64, 5)
    _, folders = end()
    for folder in folders:
        assert distance(found_in(folder), wanted) < 1e-12
