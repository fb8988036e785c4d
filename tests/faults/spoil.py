"""Puts NaN and infinity into the states of running networks: each is found within a chunk, and named.

    python tests/faults/spoil.py --number 20 --seed 1

On 1 and 2 devices of one process, and on 2 processes: a membrane, a synaptic current, a plastic weight, its presynaptic trace or
the postsynaptic trace of a random neuron or synapse, after a random number of chunks. The message must name population, neuron,
variable and time.
"""

from __future__ import annotations

import argparse
import random
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import brainunit as u
import jax
import numpy as np

import dist_sim as ds
from dist_sim.errors import NumericalError
from dist_sim.partition.mesh import whole
from dist_sim.simulator.connections import _places

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from faults.network import plastic

CHUNK, VARIABLES, VALUES = 5.0, ("V", "I", "weight", "Kplus", "trace"), ("nan", "inf", "-inf")
LONGEST = 200.0


class Case(NamedTuple):
    """Which variable is spoilt after how many chunks, by what; `which` chooses the neuron or synapse."""

    variable: str
    value: str
    chunks: int
    which: int


def cases(number: int, seed: int) -> list[Case]:
    """Every variable with every value in turn, at random places and times."""
    draw = random.Random(seed)
    return [Case(VARIABLES[k % 5], VALUES[k // 5 % 3], draw.randrange(1, 20), draw.randrange(10**6)) for k in range(number)]


def spoil(sim: ds.Simulator, case: Case) -> str:
    """Spoils one number; what must be said of it."""
    network: Any = sim._simulation.network  # pyright: ignore
    table, ids = network.projection.plastic["stdp_synapse"], network.layout.groups[0]
    neuron, target = case.which % len(ids), case.which % 100
    if case.variable in ("V", "I"):
        cells = network.populations[0]
        row = next(k for k, name in enumerate(cells.text.states) if name.startswith(case.variable))
        state, at = cells.variables, (row, network.layout.positions(0)[neuron])
        named = f"{'pre' if neuron < 300 else 'post'}: neuron {ids[neuron]}: "
    elif case.variable == "trace":
        state, at = table.post_traces, int(np.flatnonzero(whole(table.target_place.value) == target)[0])
        named = f"post: neuron {300 + target}: "
    else:
        synapses = sim.get_connections(synapse="stdp_synapse")
        one = case.which % len(synapses)
        first = _places(sim._simulation.description, "stdp_synapse")[synapses._connection[one]]  # pyright: ignore
        place = first[synapses._local[one]] + synapses._slot[one]
        row = int(np.flatnonzero(whole(table.place.value) == place)[0])
        state, at = table.state, (row, ("weight", "Kplus").index(case.variable))
        named = f"post: synapse from neuron {synapses.source[one]} (pre) to neuron {synapses.target[one]}: "
    state.value = state.value.at[at].set(float(case.value))
    return named


def spoilt(sim: ds.Simulator, case: Case) -> str:
    """Runs, spoils and goes on: the message of the error that must come."""
    begin = case.chunks * CHUNK
    sim.simulate(begin * u.ms)
    named = spoil(sim, case)
    try:
        sim.cont(10 * CHUNK * u.ms)
    except NumericalError as error:
        told = re.escape(named) + rf".*{case.variable}.* became (nan|inf|-inf).* between {begin:g} and {begin + CHUNK:g} ms"
        assert re.search(told, str(error)), f"{case}: {error}"
        return str(error)
    raise AssertionError(f"{case}: went unnoticed")


def on_devices(devices: int, chosen: Sequence[Case]) -> list[str]:
    """The messages, on devices of this process."""
    sim, _ = plastic(devices=devices)
    return [spoilt(sim, case) for case in chosen]


def on_two_processes(folder: Path, chosen: Sequence[Case]) -> list[str]:
    """The messages of `dist-sim run` on two processes with a device each; the last one ends them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    running = []
    for process in range(2):
        words = ["run", __file__, "--devices", "2", "--out", str(folder / "out"), "--checkpoint-every", "never"]
        words += ["--coordinator", address, "--processes", "2", "--process", str(process), "--"]
        words += [",".join(map(str, case)) for case in chosen]
        line = [sys.executable, "-m", "dist_sim", *words]
        running.append(subprocess.Popen(line, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    try:
        ended = [process.communicate(timeout=LONGEST) for process in running]
    finally:
        for process in running:
            process.kill()
    told = "".join(err for _, err in ended)
    assert [process.returncode for process in running] == [70, 70] and told.count("NumericalError: ") == 1, told
    assert "AssertionError" not in told, told
    return [line for line in ended[0][0].splitlines() if " became " in line]


def script(chosen: Sequence[Case]) -> None:
    """What each of two processes runs."""
    sim, _ = plastic()
    for case in chosen:
        message = spoilt(sim, case)
        if jax.process_index() == 0:
            print(message, flush=True)
    raise NumericalError(message)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", 2)
    chosen = cases(given.number, given.seed)
    told = [on_devices(1, chosen[0::3]), on_devices(2, chosen[1::3])]
    with tempfile.TemporaryDirectory() as folder:
        told.append(on_two_processes(Path(folder), chosen[2::3]))
    for where, messages in zip(("1 device", "2 devices", "2 processes"), told, strict=True):
        for message in messages:
            print(f"{where:>11}: {message.split(', and ')[0]}")
    print(f"{sum(map(len, told))} of {given.number} found within a chunk, with population, neuron, variable and time")


if __name__ == "__main__":
    if "," in sys.argv[-1]:
        parts = [text.split(",") for text in sys.argv[1:]]
        script([Case(variable, value, int(chunks), int(which)) for variable, value, chunks, which in parts])
    else:
        main()
