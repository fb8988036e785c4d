"""Starts JAX over the processes of a launch, and refuses launches that would not be one run."""

from __future__ import annotations

import faulthandler
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

from dist_sim.cluster.cores import share_cores
from dist_sim.cluster.launch import Launch
from dist_sim.cluster.roll_call import roll_call
from dist_sim.errors import DeviceError

HEARTBEAT_S = 30
CONNECT_S = 300
_SHUTDOWN_S, _JAX_WAITS_S, _JAX_JOINS_S = 30, 60, 20


def start(
    launch: Launch,
    devices: int | None = None,
    *,
    threads: int | None = None,
    heartbeat_s: int = HEARTBEAT_S,
    met: Callable[[], None] = lambda: None,
    tell: Callable[[str], None] = lambda text: None,
) -> None:
    """Makes JAX know all processes, and this one's devices. To be called before JAX is used.

    On CPU each process has as many virtual devices as it needs, and one if no number is asked for.

    Args:
        devices: of all processes together; None for those that there are.
        threads: that each process shall have; None for those of its share of the node's cores.
        heartbeat_s: seconds after which a silent process counts as dead, and the others end.
        met: called as soon as they can tell each other something.
        tell: called with a line for the user if the others are long in coming.

    Raises:
        DeviceError: the number cannot be shared equally, or there are fewer; the processes do not find each other.
    """
    import jax

    if devices is not None and devices % launch.processes:
        raise DeviceError(
            f"--devices {devices}: counts the devices of all {launch.processes} processes, and they cannot share them equally. "
            f"Give a multiple of {launch.processes}."
        )
    share = None if devices is None else devices // launch.processes
    if (share or 1) > 1:
        _configure(jax, "jax_num_cpu_devices", share)
    if launch.processes == 1:
        return
    connect(launch, share, heartbeat_s=heartbeat_s, tell=tell)
    met()
    share_cores(launch, threads)
    found = (jax.process_count(), jax.process_index())
    if found != (launch.processes, launch.process):
        raise DeviceError(
            f"process {launch.process} of {launch.processes} ({launch.launcher}) is process {found[1]} of {found[0]} to JAX: the "
            "launcher and JAX disagree. Unset JAX_* variables that are left from another job."
        )
    if devices is not None and jax.device_count() < devices:
        raise DeviceError(
            f"--devices {devices}: there are {jax.device_count()} {jax.devices()[0].platform} devices in {launch.processes} "
            f"processes ({jax.local_device_count()} in this one). Ask for fewer, or start more processes."
        )


def connect(
    launch: Launch,
    share: int | None = None,
    *,
    heartbeat_s: int = HEARTBEAT_S,
    connect_s: int = CONNECT_S,
    tell: Callable[[str], None] = lambda text: None,
) -> None:
    """Has the processes find each other, and nothing else.

    Args:
        share: devices of each process; connect_s: seconds to wait for the others; heartbeat_s, tell: as for :func:`start`.

    Raises:
        DeviceError: they do not find each other.
    """
    import jax

    # JAX's own reaction to SIGTERM would keep the signal from the program.
    _configure(jax, "jax_enable_preemption_service", False)
    begun = time.monotonic()
    if launch.coordinator is None:
        coordinator, run = _ask_mpi(launch, connect_s)
        launch = replace(launch, coordinator=coordinator, run=run)
    coordinator = launch.coordinator
    assert coordinator is not None
    host, _, port = coordinator.rpartition(":")
    roll_call(launch, _address(host), connect_s, tell)
    failed: list[Exception] = []

    def find_each_other() -> None:
        try:
            with _without_proxies():
                jax.distributed.initialize(
                    coordinator,
                    launch.processes,
                    launch.process,
                    local_device_ids=visible_devices(launch, share, os.environ),
                    cluster_detection_method="deactivate",
                    initialization_timeout=connect_s + _JAX_WAITS_S,
                    heartbeat_timeout_seconds=heartbeat_s,
                    shutdown_timeout_seconds=_SHUTDOWN_S,
                    # Neither encrypted nor authenticated: open on no more addresses than the processes use.
                    coordinator_bind_address=f"{_address(host)}:{port}" if launch.process == 0 else None,
                )
        except Exception as error:
            failed.append(error)

    # Beside this thread: where the others do not come, JAX aborts the process before anybody has said why.
    finding = threading.Thread(target=find_each_other, daemon=True)
    finding.start()
    finding.join(max(_JAX_JOINS_S, begun + connect_s - time.monotonic()))
    if failed or finding.is_alive():
        why = str(failed[0]).splitlines()[0] if failed else f"JAX had not joined them within {connect_s} s."
        raise DeviceError(
            f"process {launch.process} of {launch.processes} ({launch.launcher}): the processes did not find each other at "
            f"{coordinator}: {why} Is the host reachable from all nodes, and was every process started?"
        ) from (failed[0] if failed else None)


def visible_devices(launch: Launch, share: int | None, environment: Mapping[str, str]) -> list[int] | None:
    """Which of a node's GPUs are this process's: as many as it needs for each process of the node in turn; None where a process
    sees only its own (or is alone on the node), and on CPU and TPU, where it means nothing."""
    if launch.local_process is None or (launch.local_processes or 1) == 1:
        return None
    share = share or 1
    seen = environment.get("CUDA_VISIBLE_DEVICES")
    if seen is not None and len([name for name in seen.split(",") if name]) <= share:
        return None
    return list(range(launch.local_process * share, (launch.local_process + 1) * share))


@contextmanager
def _without_proxies() -> Iterator[None]:
    """Within this context the environment names no proxy: gRPC would ask it for the coordinator, and wait."""
    kept = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy") and "no_" not in name.lower()}
    for name in kept:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(kept)


def _ask_mpi(launch: Launch, connect_s: int) -> tuple[str, str]:
    """The coordinator, and a word for this run."""
    if launch.launcher == "openmpi":
        # The mpi4py wheel loads MPICH unless told otherwise.
        os.environ.setdefault("MPI4PY_MPIABI", "openmpi")
    # MPI waits for ever, and without letting other threads run, for a process that ended before it came to this line.
    faulthandler.dump_traceback_later(connect_s, exit=True)
    try:
        from mpi4py import MPI

        world = MPI.COMM_WORLD
        if (world.size, world.rank) == (launch.processes, launch.process):
            return world.bcast((f"{socket.gethostname()}:{_free_port()}", uuid4().hex) if world.rank == 0 else None)
    except (ImportError, RuntimeError) as error:
        raise DeviceError(
            f"process {launch.process} of {launch.processes} was started by mpirun ({launch.launcher}), and there is no mpi4py "
            f"({error}). Install it (pip install 'dist_sim[mpi]'), or give --coordinator, --processes and --process."
        ) from error
    finally:
        faulthandler.cancel_dump_traceback_later()
    raise DeviceError(
        f"process {launch.process} of {launch.processes} ({launch.launcher}) is rank {world.rank} of {world.size} to mpi4py: "
        "it is built for another MPI than this mpirun. Each rank would be a run of its own. Use the mpirun of mpi4py's MPI."
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def _address(host: str) -> str:
    """The address to listen on: that of the name, if it is one of this node's own."""
    try:
        address = socket.gethostbyname(host)
        with socket.socket() as probe:
            probe.bind((address, 0))
    except OSError:
        return "0.0.0.0"
    return address


def _configure(jax: Any, name: str, value: Any) -> None:
    try:
        jax.config.update(name, value)
    except RuntimeError as error:
        raise DeviceError(f"{name}={value}: {error} Start devices and processes before JAX is used.") from error
