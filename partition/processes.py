"""What the processes of one program tell each other on the host: sizes while they build, flags and spikes between chunks.

Every process calls the same functions in the same order. A mesh of one process asks nobody: its functions are free.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import jax
import numpy as np
from jax._src.xla_bridge import backends_are_initialized
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from dist_sim.errors import DeviceError

_PIECE = 1 << 20  # entries of an array that one exchange of `total` carries: bounds its memory to processes x pieces
_DIFFERENCES, _SHOWN, _BEFORE = 10, 60, 20  # how many are told, and how much of a long text from before where it differs


@final
@dataclass(frozen=True)
class Processes:
    """The processes of a mesh.

    Attributes:
        index: this process; count: how many there are.
    """

    index: int = 0
    count: int = 1

    def gather(self, values: np.ndarray) -> np.ndarray:
        """(count, *shape): the array of each process, all of one shape and dtype of 4 or 8 bytes."""
        values = np.ascontiguousarray(values)
        if self.count == 1 or values.size == 0:
            return np.broadcast_to(values, (self.count, *values.shape))
        # As words of 32 bits: JAX would make 32 bits of 64 otherwise.
        words = multihost_utils.process_allgather(values.reshape(-1).view(np.uint32))
        return np.ascontiguousarray(words).view(values.dtype).reshape(self.count, *values.shape)

    def gather_ragged(self, values: np.ndarray) -> list[np.ndarray]:
        """The (n, ...) array of each process, n of its own."""
        if self.count == 1:
            return [values]
        lengths = self.gather(np.array([len(values)]))[:, 0]
        if not lengths.any():
            return [values] * self.count
        # Few different sizes: each is compiled once.
        room = max(64, 1 << (int(lengths.max()) - 1).bit_length())
        padded = np.zeros((room, *values.shape[1:]), values.dtype)
        padded[: len(values)] = values
        return [found[:n] for found, n in zip(self.gather(padded), lengths, strict=True)]

    def total(self, values: np.ndarray) -> np.ndarray:
        """The sum over the processes, entry by entry."""
        if self.count == 1:
            return values
        flat = np.ascontiguousarray(values).reshape(-1)
        pieces = [self.gather(flat[at : at + _PIECE]).sum(axis=0) for at in range(0, max(1, len(flat)), _PIECE)]
        return np.concatenate(pieces).astype(values.dtype).reshape(values.shape)

    def largest(self, values: Sequence[int]) -> list[int]:
        """The largest of each number over the processes."""
        return [int(x) for x in self.gather(np.array(values, dtype=np.int64)).max(axis=0)]

    def first(self, text: str) -> str:
        """What process 0 says."""
        if self.count == 1:
            return text
        return self._all(text)[0]

    def check_same(self, lines: Mapping[str, str], remedy: str) -> None:
        """Refuses processes that would not compute the same. Every process calls it, and all raise the same.

        Args:
            lines: what must be equal, by name; remedy: what to do about it, a sentence.

        Raises:
            DeviceError: they differ: in what, and which process has what.
        """
        if self.count == 1:
            return
        text = json.dumps({name: str(value) for name, value in lines.items()})
        digests = self.gather(np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint32))
        if (digests == digests[0]).all():
            return
        of_processes = [json.loads(found) for found in self._all(text)]
        names = dict.fromkeys(name for found in of_processes for name in found)
        wrong = [
            f"{name}: {_told(values)}"
            for name in names
            if len(set(values := [found.get(name, "nothing") for found in of_processes])) > 1
        ]
        more = f"; and {len(wrong) - _DIFFERENCES} more" if len(wrong) > _DIFFERENCES else ""
        raise DeviceError(
            f"the {self.count} processes do not run the same program; they differ in {'; '.join(wrong[:_DIFFERENCES])}{more}. "
            f"{remedy}"
        )

    def _all(self, text: str) -> list[str]:
        """What each process says."""
        said = self.gather_ragged(np.frombuffer(text.encode("utf-32-le"), np.uint32))
        return [words.tobytes().decode("utf-32-le") for words in said]


def _told(values: Sequence[str]) -> str:
    """Which processes have what: `5 on process 0, 7 on process 1`."""
    shortest = min(map(len, values))
    same = next((k for k in range(shortest) if len({value[k] for value in values}) > 1), shortest)
    begin = max(0, same - _BEFORE) if max(map(len, values)) > _SHOWN else 0
    groups: dict[str, list[int]] = {}
    for process, value in enumerate(values):
        groups.setdefault(value, []).append(process)
    return ", ".join(
        f"{'...' if begin else ''}{value[begin : begin + _SHOWN]}{'...' if len(value) > begin + _SHOWN else ''} on "
        f"process {' and '.join(map(str, them[:_DIFFERENCES]))}{' and more' if len(them) > _DIFFERENCES else ''}"
        for value, them in groups.items()
    )


ALONE = Processes()


def own_cores() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def processes_of(mesh: Mesh) -> Processes:
    """The processes that a mesh is spread over.

    Raises:
        DeviceError: some processes of the program, but not all, have devices in it.
    """
    taking_part = {device.process_index for device in mesh.devices.flat}
    if taking_part == {jax.process_index()}:
        return ALONE
    if len(taking_part) != jax.process_count():
        raise DeviceError(
            f"a mesh over the processes {sorted(taking_part)} of {jax.process_count()}: every process runs the program, so each "
            "needs a device in it. Take devices of all processes (devices=None takes all), or of this one alone."
        )
    return Processes(jax.process_index(), jax.process_count())


def refuse_copies(environment: Mapping[str, str]) -> None:
    """For a process that JAX takes for the only one: it must not be one of several that a launcher has started.

    Raises:
        DeviceError: it is: each of them would simulate the whole network by itself.
    """
    if environment.get("DIST_SIM_ALONE", "") not in ("", "0"):
        return
    for launcher, name in (("srun", "SLURM_STEP_NUM_TASKS"), ("mpirun", "OMPI_COMM_WORLD_SIZE"), ("mpirun", "PMI_SIZE")):
        if environment.get(name, "1") not in ("0", "1"):
            raise DeviceError(
                f"{launcher} has started {environment[name]} processes, and JAX knows of one: each would simulate the whole "
                f"network by itself. Make them one run: {launcher} ... dist-sim run FILE.py. If copies are what you want (each "
                "with a seed of its own), set DIST_SIM_ALONE=1."
            )


_FORKED = False


def _after_fork() -> None:
    global _FORKED
    _FORKED = _FORKED or backends_are_initialized()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def refuse_forked() -> None:
    """For what would wait for ever: JAX's threads, which compute, do not come along when a process is forked.

    Raises:
        DeviceError: this process was forked from one in which JAX had started.
    """
    if _FORKED:
        raise DeviceError(
            "this process was forked from one that had used JAX, whose threads do not come along: it would wait for ever. Take "
            "multiprocessing.get_context('spawn'), or use JAX and dist_sim in the children alone."
        )


def all_processes() -> Processes:
    """The processes of the program."""
    return Processes(jax.process_index(), jax.process_count())
