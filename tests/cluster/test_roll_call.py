"""The processes of one run find each other, and no others: of two runs with one port neither joins the other's."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from dist_sim.cluster.launch import Launch
from dist_sim.cluster.roll_call import roll_call
from dist_sim.errors import DeviceError

pytestmark = pytest.mark.alone

SCRIPT = """
import brainunit as u
import dist_sim as ds

sim = ds.Simulator(seed=ds.param("seed", 1))
cells, recorder = sim.create(ds.iaf_psc_delta, 20, name="cells"), sim.create(ds.spike_recorder)
noise = sim.create(ds.poisson_generator, rate=25_000 * u.Hz)
sim.connect(noise, cells, weight=0.3 * u.mV)
sim.connect(cells, recorder)
sim.simulate(20 * u.ms)
"""


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Caller(threading.Thread):
    """One process in a thread: what becomes of its roll call, and what it tells."""

    def __init__(self, port, process, processes=2, run="", within_s=20):
        super().__init__(daemon=True)
        self.launch = Launch(launcher="explicit", processes=processes, process=process, coordinator=f"127.0.0.1:{port}", run=run)
        self.within_s, self.outcome, self.told = within_s, "", []
        self.start()

    def run(self):
        try:
            roll_call(self.launch, "127.0.0.1", self.within_s, self.told.append)
            self.outcome = "all are here"
        except DeviceError as error:
            self.outcome = str(error)

    def ended(self):
        self.join(30)
        return self.outcome


def connected(port):
    """To a port on which somebody is about to listen."""
    until = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=5)
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def test_processes_come_in_any_order(port):
    first = Caller(port, 2, 3)
    time.sleep(0.3)
    callers = [first, Caller(port, 0, 3)]
    time.sleep(0.3)
    assert not any(caller.outcome for caller in callers)
    callers.append(Caller(port, 1, 3))
    assert [caller.ended() for caller in callers] == ["all are here"] * 3


def test_a_process_of_another_run_is_refused_and_disturbs_nobody(port):
    waiting = Caller(port, 0, run="a")
    assert "another run waits there: that is a, this is b. Give each run a --coordinator port" in Caller(port, 1, run="b").ended()
    assert "another run, or another program, listens there" in Caller(port, 0, run="b").ended()
    assert "the run that waits there has 2 processes, this one 3." in Caller(port, 1, 3, run="a").ended()
    assert not waiting.outcome
    # One that does not know its run, as after a mistake in its command line, belongs to the one it is sent to.
    assert Caller(port, 1).ended() == waiting.ended() == "all are here"


def test_a_second_process_of_one_number_is_refused(port):
    callers = [Caller(port, 0, 3), Caller(port, 1, 3)]
    time.sleep(0.5)
    assert "process 1 of this run is there already" in Caller(port, 1, 3).ended()
    assert [caller.ended() for caller in [Caller(port, 2, 3), *callers]] == ["all are here"] * 3


def test_one_that_has_left_does_not_count_and_may_come_again(port):
    waiting = Caller(port, 0, 3)
    with connected(port) as left:
        left.sendall(b'[1, 3, ""]\n')
        time.sleep(0.5)
    with connected(port) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
    second = Caller(port, 2, 3)
    time.sleep(0.5)
    assert not waiting.outcome and not second.outcome
    assert [caller.ended() for caller in (Caller(port, 1, 3), waiting, second)] == ["all are here"] * 3


def test_who_is_missing_is_told(port, monkeypatch):
    monkeypatch.setattr("dist_sim.cluster.roll_call._TELL_AFTER_S", 0.3)
    waiting, other = Caller(port, 0, 4, within_s=2), Caller(port, 2, 4, within_s=4)
    assert "process 1, 3 had not come within 2 s" in waiting.ended()
    assert waiting.told == [f"waiting for process 1, 3 of 4 at 127.0.0.1:{port}"]
    assert "process 0 had not called all together within 4 s" in other.ended()


def test_another_program_on_the_port(port):
    with socket.create_server(("127.0.0.1", port)) as server:
        caller = Caller(port, 1)
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"SSH-2.0-OpenSSH\r\n")
            assert "another program answers there" in caller.ended()


@pytest.fixture
def process(checkout, tmp_path, port):
    """Starts process 0 or 1 of a run in a folder."""
    (tmp_path / "script.py").write_text(SCRIPT)
    running = []

    def start(number, out, **environment):
        line = [sys.executable, "-m", "dist_sim", "run", "script.py", "--out", out, "--set", f"seed={len(out)}"]
        line += ["--coordinator", f"127.0.0.1:{port}", "--processes", "2", "--process", str(number)]
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(checkout)} | environment
        running.append(
            subprocess.Popen(line, cwd=tmp_path, env=environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        )
        return running[-1]

    yield start
    for each in running:
        each.kill()
        each.communicate()


def test_two_runs_on_one_port_do_not_mix(process, tmp_path, port):
    a = process(0, "a")
    until = time.monotonic() + 60
    while True:  # until it listens: the others would take the port
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            break
        assert time.monotonic() < until and a.poll() is None
        time.sleep(0.05)
    b = [process(1, "bb"), process(0, "bb")]
    said = [each.communicate(timeout=60)[1] for each in b]
    assert [each.returncode for each in b] == [64, 64] and "Traceback" not in "".join(said), said
    assert a.poll() is None
    a = [a, process(1, "a")]
    said = [each.communicate(timeout=60)[1] for each in a]
    assert [each.returncode for each in a] == [0, 0], said
    assert json.loads((tmp_path / "a" / "summary.json").read_text())["processes"] == 2 and not (tmp_path / "bb").exists()


def test_a_proxy_is_not_asked_for_the_coordinator(process):
    """Nobody listens where the proxy should be: asked for it, JAX waits for five minutes."""
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY"), "http://127.0.0.1:9")
    both = [process(number, "a", **proxies) for number in range(2)]
    said = [each.communicate(timeout=60)[1] for each in both]
    assert [each.returncode for each in both] == [0, 0] and "prox" not in "".join(said).lower(), said
