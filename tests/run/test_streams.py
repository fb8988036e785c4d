"""Nobody reads what a run says, or its disk is full: the run goes on."""

import io
import json
import os
import socket
import subprocess
import sys

import pytest

from dist_sim.run.streams import readers_may_leave


def without_a_reader():
    reader, writer = os.pipe()
    os.close(reader)
    return open(writer, "w")


def on_a_full_disk():
    return open("/dev/full", "w")


@pytest.mark.parametrize(
    ("name", "file"), [("stdout", without_a_reader), ("stderr", without_a_reader), ("stderr", on_a_full_disk)]
)
def test_what_cannot_be_said_is_dropped(monkeypatch, name, file):
    with file() as stream:
        monkeypatch.setattr(sys, name, stream)
        with readers_may_leave():
            for _ in range(3):
                print("x" * 100_000, file=getattr(sys, name), flush=True)
        assert getattr(sys, name) is stream


def test_a_full_disk_below_stdout_is_an_error(monkeypatch):
    with on_a_full_disk() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(OSError, match="No space"), readers_may_leave():
            print("a result", flush=True)


@pytest.mark.parametrize("buffering", [-1, 1])
def test_what_is_read_is_what_was_said(monkeypatch, tmp_path, buffering):
    with open(tmp_path / "said", "w", buffering, encoding="utf-8") as stream:
        stream.write("before ")
        monkeypatch.setattr(sys, "stdout", stream)
        with readers_may_leave():
            print("within: ü")
        stream.write("after")
    assert (tmp_path / "said").read_text(encoding="utf-8") == "before within: ü\nafter"


def test_a_stream_that_is_no_file_stays(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with readers_may_leave():
        assert sys.stderr is stream


LOUD = """
import sys
import brainunit as u
import dist_sim as ds

sim = ds.Simulator(dt=0.1 * u.ms, seed=3, chunk=1 * u.ms, backend="reference")
cells, noise = sim.create(ds.iaf_psc_delta, 20), sim.create(ds.poisson_generator, rate=25_000 * u.Hz)
sim.connect(noise, cells, weight=0.1 * u.mV, delay=1.5 * u.ms)
sim.connect(cells, sim.create(ds.spike_recorder))
print("x" * 100_000, flush=True)
print("x" * 100_000, file=sys.stderr, flush=True)
sim.simulate(5 * u.ms)
print("done", flush=True)
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_whose_reader_leaves_goes_on_to_its_end(checkout, tmp_path, processes):
    (tmp_path / "net.py").write_text(LOUD)
    line = [sys.executable, "-m", "dist_sim", "run", "net.py", "--out", "run"]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with without_a_reader() as nobody:
        running = []
        for process in range(processes):
            where = ["--coordinator", address, "--processes", "2", "--process", str(process)] if processes > 1 else []
            running.append(subprocess.Popen([*line, *where], cwd=tmp_path, env=environment, stdout=nobody, stderr=nobody))
        assert [p.wait(100) for p in running] == [0] * processes
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "done"
    assert (tmp_path / "run" / "results" / "spikes.h5").is_file()


SCRIPT = """
import brainunit as u
import dist_sim as ds

sim = ds.Simulator()
cells = sim.create(ds.iaf_psc_exp, 3)
sim.connect(cells, sim.create(ds.spike_recorder))
print(sim.simulate(1 * u.ms).digest)
"""


@pytest.mark.parametrize("how", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_streams_that_the_shell_has_closed(tmp_path, how):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = f"{sys.executable} -m dist_sim run script.py --out out {how}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out/status.json").read_text())["state"] == "done"
    assert (tmp_path / "out/results/spikes.h5").exists()
