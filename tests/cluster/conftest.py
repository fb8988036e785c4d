"""What the tests of several processes start: `dist-sim run` as one of them each, and a real SLURM."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import local_slurm
import pytest


@pytest.fixture(scope="session")
def slurm(tmp_path_factory) -> Iterator[local_slurm.Slurm]:
    if reason := local_slurm.missing():
        pytest.skip(reason)
    with local_slurm.running(tmp_path_factory.mktemp("slurm")) as slurm:
        yield slurm


@pytest.fixture
def start(checkout, tmp_path):
    """Starts `dist-sim run` as several processes; gives their exit codes, what they wrote to stderr, and the seconds it took."""
    running = []

    def run(*each, script=("script.py",), command="run", more=({},), timeout=120):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(checkout)}
        begin = time.monotonic()
        for k, options in enumerate(each):
            where = ["--coordinator", address, "--processes", str(len(each)), "--process", str(k)] if len(each) > 1 else []
            line = [sys.executable, "-m", "dist_sim", command, script[k % len(script)], *where, *options.split()]
            running.append(
                subprocess.Popen(
                    line,
                    cwd=tmp_path,
                    env=environment | more[k % len(more)],
                    text=True,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            )
        ended = [process.communicate(timeout=timeout) for process in running]
        codes, said = [process.returncode for process in running], "".join(err for _, err in ended)
        running.clear()
        return codes, re.sub(r"(?m)^.*Gloo.*\n", "", said), time.monotonic() - begin

    yield run
    for process in running:
        process.kill()
