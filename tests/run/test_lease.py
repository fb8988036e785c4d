"""A run directory has one writer: a lock that is taken over from the dead, and from nobody else."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from dist_sim.errors import OutputError
from dist_sim.run import lease
from dist_sim.run.lease import Lease, holder_is_gone

NAMESPACE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
HAS_NAMESPACES = shutil.which("unshare") is not None and subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode == 0
HOLD = """
import sys, time
from pathlib import Path
from dist_sim.run.lease import Lease
Lease(Path(sys.argv[1]))
print('held', flush=True)
time.sleep(60)
"""
RACE = """
import sys
from pathlib import Path
from dist_sim.run.lease import Lease
for line in sys.stdin:
    try:
        Lease(Path(line.strip()))
        print('got', flush=True)
    except OSError:
        print('not', flush=True)
"""


def test_a_directory_has_one_writer(tmp_path):
    path = tmp_path / "run.lock"
    held = Lease(path)
    with pytest.raises(OutputError, match=f"is being written by process {os.getpid()} on "):
        Lease(path)
    held.release()
    Lease(path).release()
    assert not path.exists()


def test_a_lock_of_a_killed_process_does_not_count(tmp_path):
    path = tmp_path / "run.lock"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match=f"is being written by process {process.pid}"):
            Lease(path)
        assert not holder_is_gone(path)
    finally:
        process.kill()
        process.communicate()
    assert holder_is_gone(path)
    Lease(path).release()
    assert not holder_is_gone(path)


ELSEWHERE = {"host": "elsewhere", "pid": 1, "processes": "boot pid:[1]", "started": "1", "job": "7", "restart": 0}


def test_a_lock_of_another_host_counts_until_it_is_not_touched_any_more(tmp_path, monkeypatch, capsys):
    path = tmp_path / "run.lock"
    path.write_text(json.dumps(ELSEWHERE))
    # The queue has started the same job again: whoever held the lock is gone.
    with monkeypatch.context() as patch:
        patch.setenv("SLURM_JOB_ID", "7")
        patch.setenv("SLURM_RESTART_COUNT", "1")
        Lease(path).release()
    assert capsys.readouterr().err == ""
    path.write_text(json.dumps(ELSEWHERE))
    monkeypatch.setattr(lease, "EXPIRES", 1.0)
    begin = time.monotonic()
    Lease(path).release()
    assert time.monotonic() - begin >= 1.0
    assert "locked by process 1 on elsewhere, job 7; looks for 1 s whether it still runs" in capsys.readouterr().err


@pytest.mark.parametrize("clock_s", [-3600, -60, 0, 60])
def test_a_healthy_run_keeps_its_lock_whatever_the_clocks_say(tmp_path, monkeypatch, clock_s):
    """The holder is on a host with another clock, and renews its claim."""
    path, over = tmp_path / "run.lock", threading.Event()
    path.write_text(json.dumps(ELSEWHERE))

    def renew():
        while not over.is_set():
            os.utime(path, (time.time() + clock_s,) * 2)
            over.wait(0.3)

    monkeypatch.setattr(lease, "EXPIRES", 3.0)
    renewing = threading.Thread(target=renew)
    renewing.start()
    try:
        with pytest.raises(
            OutputError, match="is being written by process 1 on elsewhere, job 7, which has just renewed its claim"
        ):
            Lease(path)
    finally:
        over.set()
        renewing.join()
    assert json.loads(path.read_text()) == ELSEWHERE


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_systems_without_locks(tmp_path, monkeypatch, error):
    path = tmp_path / "run.lock"

    def flock(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", flock)
    held = Lease(path)
    with pytest.raises(OutputError, match=f"is being written by process {os.getpid()} on "):
        Lease(path)
    held.release()
    path.write_text(json.dumps(lease._myself() | {"started": "0"}))
    Lease(path).release()
    # Two find the same lock stale, and the other was faster.
    path.write_text(json.dumps(stale := lease._myself() | {"started": "0"}))
    seen = lease._look(path)
    path.write_text(fresh := json.dumps(stale | {"started": "1"}))
    slow = object.__new__(Lease)
    slow._path = path
    with pytest.raises(FileExistsError):
        slow._set_aside(seen)
    assert path.read_text() == fresh and not list(tmp_path.glob(".run.lock.[0-9]*"))


@pytest.mark.skipif(not HAS_NAMESPACES, reason="needs root, or unprivileged user namespaces")
@pytest.mark.parametrize("ended", [False, True])
def test_a_lock_of_another_container_of_this_name(tmp_path, monkeypatch, ended):
    """The process numbers of one PID namespace mean nothing in another."""
    path = tmp_path / "run.lock"
    monkeypatch.setattr(lease, "EXPIRES", 3.0)
    hold = HOLD.replace("Lease(Path", "from dist_sim.run import lease; lease.BEAT = 0.3\nLease(Path")
    line = [*NAMESPACE, "--kill-child", sys.executable, "-c", hold, str(path)]
    left = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    try:
        assert left.stdout is not None and left.stdout.readline() == "held\n"
        held = json.loads(path.read_text())
        assert held["host"] == lease._myself()["host"] and not lease._visible(held)
        if ended:
            left.kill()
            left.wait(10)
            Lease(path).release()
        else:
            with pytest.raises(OutputError, match="is being written by .*, which has just renewed its claim"):
                Lease(path)
            assert left.poll() is None and json.loads(path.read_text()) == held
    finally:
        left.kill()
        left.communicate()


def test_what_is_left_of_an_earlier_attempt_of_this_job_is_ended(tmp_path, monkeypatch):
    """As after `kill -9` of a node's daemons: the queue starts the job again, and a process of the attempt before still runs."""
    path = tmp_path / "run.lock"
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    left = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert left.stdout is not None and left.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match=f"is being written by process {left.pid} on .*, job 7"):
            Lease(path)
        monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
        Lease(path).release()
        assert left.wait(10) == -signal.SIGKILL
    finally:
        left.kill()
        left.communicate()


def test_one_that_has_lost_its_lock_ends_itself(tmp_path):
    """On another host: a lock that another process has written since."""
    path = tmp_path / "run.lock"
    hold = HOLD.replace("Lease(Path", "from dist_sim.run import lease; lease.BEAT = 0.05\nLease(Path")
    left = subprocess.Popen([sys.executable, "-c", hold, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert left.stdout is not None and left.stdout.readline() == "held\n"
        time.sleep(0.3)
        assert left.poll() is None
        path.write_text(json.dumps({"host": "elsewhere", "pid": 1}))
        assert left.wait(20) == lease.LOST and "another process goes on with this run" in left.communicate()[1]
        assert json.loads(path.read_text())["host"] == "elsewhere"
    finally:
        left.kill()
        left.communicate()


def test_of_many_at_once_one_gets_it(tmp_path):
    """20 times: the lock of a dead process, and three that want it."""
    racers = [
        subprocess.Popen([sys.executable, "-c", RACE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    try:
        for number in range(20):
            path = tmp_path / str(number)
            path.write_text(json.dumps(lease._myself() | {"started": "0"}))
            for racer in racers:
                assert racer.stdin is not None
                racer.stdin.write(f"{path}\n")
                racer.stdin.flush()
            said = [racer.stdout.readline().strip() for racer in racers if racer.stdout is not None]
            assert sorted(said) == ["got", "not", "not"]
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()
