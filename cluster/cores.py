"""Which cores of a node are whose: processes that may all use the same ones share them out, before JAX makes its threads.

Unshared, JAX has a thread for every core in each process, and they get in the way of processes that wait for each other in every
step: a step of 4,000 neurons on two processes and two cores takes 33 us, and 7.4 us with a core for each.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from dist_sim.cluster import board
from dist_sim.cluster.launch import Launch

_CPUS = Path("/sys/devices/system/cpu")


def share_cores(launch: Launch, threads: int | None = None) -> list[int] | None:
    """Keeps this process, and the threads that it starts from now on, to its share of the cores of the node.

    Nothing is done where a launcher has shared them out already, where there are fewer cores than processes, and where `threads`
    asks for more than the share. Every process of the node calls it.

    Returns:
        The cores; None where nothing was done.
    """
    number, count = launch.local_process, launch.local_processes or 1
    if number is None or count == 1 or not hasattr(os, "sched_setaffinity"):
        return None
    mine = sorted(os.sched_getaffinity(0))
    host = socket.gethostname()
    board.post(f"cores/{host}/{number}", repr(mine))
    if len(mine) < count or any(board.read(f"cores/{host}/{other}") != repr(mine) for other in range(count)):
        return None
    share = shares(mine, count)[number]
    if threads is not None and threads > len(share):
        return None
    os.sched_setaffinity(0, share)
    return share


def shares(cores: Sequence[int], count: int, core_of: Callable[[int], tuple[int, int]] | None = None) -> list[list[int]]:
    """The cores in so many parts, as equal as they can be; hardware threads of one core, and cores of one socket, stay together.

    Args:
        core_of: socket and core of a hardware thread; None asks the system.
    """
    ordered = sorted(cores, key=lambda cpu: (*(core_of or _core_of)(cpu), cpu))
    ends = [part * len(ordered) // count for part in range(count + 1)]
    return [sorted(ordered[first:last]) for first, last in zip(ends, ends[1:], strict=False)]


def _core_of(cpu: int) -> tuple[int, int]:
    try:
        folder = _CPUS / f"cpu{cpu}" / "topology"
        return int((folder / "physical_package_id").read_text()), int((folder / "core_id").read_text())
    except (OSError, ValueError):
        return 0, cpu
