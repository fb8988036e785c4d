"""The processes of one run meet: they know each other, run the same program and share one run directory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import dist_sim
from dist_sim.cluster.bootstrap import HEARTBEAT_S, connect, start
from dist_sim.cluster.ending import Ending
from dist_sim.cluster.launch import Launch, detect
from dist_sim.commands.ends import complain, ending, together
from dist_sim.core import environ
from dist_sim.partition.processes import ALONE, Processes, all_processes
from dist_sim.run.directory import RunDirectory
from dist_sim.run.provenance import script_checksum, versions

_LAST_WORD_S = 8  # how long a process that fails before they have met waits for the others, to tell them


def launched(
    coordinator: str | None, processes: int | None, process: int | None, heartbeat: int = HEARTBEAT_S, out: Path | None = None
) -> Launch:
    """How this process was started. From now on it ends together with the others, even if it fails before they meet.

    Args:
        coordinator, processes, process, heartbeat: as the options of these names.
        out: the run directory, if it was named: by it runs are told apart whose launcher has no word for them.

    Raises:
        ParameterError, DeviceError: addresses that make no sense.
    """
    launch = detect(os.environ, coordinator=coordinator, processes=processes, process=process)
    if not launch.run and out is not None:
        launch = replace(launch, run=f"--out {out.absolute()}")
    ending.set(
        Ending(launch.processes, launch.process, meet=partial(connect, launch, heartbeat_s=heartbeat, connect_s=_LAST_WORD_S))
    )
    return launch


def meet(
    launch: Launch, devices: int | None, threads: int | None, heartbeat: int, script: Path, told: Mapping[str, object]
) -> Processes:
    """Starts JAX, over all processes that were started as this one; they must run the same program.

    Args:
        devices, threads, heartbeat: as the options of these names.
        script: whose text must be the same in all; `told`: what else must be, by name.

    Raises:
        DeviceError: processes that do not find each other, or differ.
    """
    if launch.note:
        complain(f"note: {launch.note}")
    start(launch, devices, threads=threads, heartbeat_s=heartbeat, met=together().listen, tell=complain)
    if launch.processes == 1:
        return ALONE
    code = hashlib.sha256(b"".join(path.read_bytes() for path in code_files()))
    lines = {
        "script": script_checksum(script) if script.is_file() else "none",
        **{name: repr(value) for name, value in {**told, "--devices": devices, "--threads": threads}.items()},
        "versions": repr(versions()),
        "code of dist_sim": code.hexdigest(),
        "JAX_ENABLE_X64": str(environ.get_precision() == 64),
    }
    here = all_processes()
    here.check_same(lines, "Start all of them with the same command and environment, from a file system that all nodes share.")
    return here


def code_files() -> list[Path]:
    """Every source file of dist_sim, those behind its links too, in an order that is the same everywhere."""
    root = Path(dist_sim.__file__).parent
    return sorted(
        Path(folder, name)
        for folder, _, names in os.walk(root, followlinks=True)
        for name in names
        if name.endswith((".py", ".cpp", ".h"))
    )


def claimed(here: Processes, claim: Callable[[], RunDirectory], *, resumed: bool = False) -> RunDirectory:
    """The run directory, which process 0 claims for all."""
    directory = claim() if here.index == 0 else None
    path = here.first("" if directory is None else str(directory.path.resolve()))
    return RunDirectory.join(path, here.index, resumed=resumed) if directory is None else directory
