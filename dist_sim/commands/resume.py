"""`dist-sim resume DIR`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from dist_sim.cluster.bootstrap import HEARTBEAT_S
from dist_sim.cluster.watch import STALL_S
from dist_sim.commands.ends import DONE, complain, errors_become_exit_codes
from dist_sim.commands.meeting import claimed, launched, meet
from dist_sim.commands.options import (
    Coordinator,
    Count,
    Debug,
    Directory,
    Every,
    Heartbeat,
    Index,
    MaxHours,
    Stall,
    Threads,
    interval,
)
from dist_sim.commands.script import run_script, stop_after
from dist_sim.errors import OutputError, ParameterError
from dist_sim.forecast.ahead import warn_of_memory
from dist_sim.run.checkpoint import CheckpointPolicy
from dist_sim.run.directory import RunDirectory
from dist_sim.run.session import Session


def resume(
    directory: Directory,
    devices: Annotated[int | None, typer.Option(min=1, help="Devices to run on.  [default: as many as before]")] = None,
    script: Annotated[Path | None, typer.Option(metavar="FILE.py", help="Where the script is now, if it was moved.")] = None,
    every: Every = None,
    max_hours: MaxHours = None,
    coordinator: Coordinator = None,
    processes: Count = None,
    process: Index = None,
    heartbeat: Heartbeat = HEARTBEAT_S,
    stall: Stall = STALL_S,
    threads: Threads = None,
    allow_changed: Annotated[bool, typer.Option("--allow-changed", help="Also if network or script have changed.")] = False,
    debug: Debug = False,
) -> None:
    """Go on with a run from its newest sound checkpoint, on any number of devices.

    The script is run again, in the folder in which the run began; what it simulates begins where the checkpoint was taken. Exit
    codes as those of `run`.
    """
    with errors_become_exit_codes(debug):
        launch = launched(coordinator, processes, process, heartbeat, directory)
        # What the run directory says of the devices is needed before JAX, and with it the other processes, can be asked.
        before = _config(RunDirectory.open(directory))
        script = (script or Path(before["script"])).absolute()
        devices = before["devices"] if devices is None else devices
        here = meet(launch, devices, threads, heartbeat, script, {"config": before})
        opened = claimed(here, lambda: RunDirectory.resume(directory), resumed=True)
        try:
            config = _config(opened)
            if opened.read_status().get("state") == "done":
                complain(f"{directory}: this run is done.")
                raise typer.Exit(DONE)
            policy = CheckpointPolicy(**config["checkpoints"])
            if every is not None:
                policy = replace(policy, every=interval(every))
            script = _found(script, opened)
            _go_back_to(config["folder"], complain if here.index == 0 else lambda text: None)
            session = Session(
                devices=devices, threads=threads, out=opened.path, parameters=config["set"], command=("dist-sim", *sys.argv[1:]),
                script=script, arguments=tuple(config["arguments"]), checkpoints=policy,
                stop=stop_after(max_hours), allow_changed=allow_changed, directory=opened, foresee=warn_of_memory,
            )  # fmt: skip
        except BaseException:
            opened.close()
            raise
        raise typer.Exit(run_script(session, opened, here, debug, stall))


def _config(directory: RunDirectory) -> dict[str, Any]:
    """How the run was started; what is left out of it is as by default.

    Raises:
        OutputError: it is not what a run writes: nothing to go on with.
    """
    config = {"devices": None, "folder": None, "arguments": [], "set": {}, **(directory.read_json("config.json") or {})}
    policy = config["checkpoints"] = config.get("checkpoints") or {}
    limits = {field.name for field in fields(CheckpointPolicy)}
    sound = {
        "devices": config["devices"] is None or _is_count(config["devices"]),
        "folder": config["folder"] is None or isinstance(config["folder"], str),
        "arguments": isinstance(config["arguments"], list) and all(isinstance(word, str) for word in config["arguments"]),
        "set": isinstance(config["set"], dict) and all(isinstance(text, str) for text in config["set"].values()),
        "checkpoints": isinstance(policy, dict)
        and policy.keys() <= limits
        and all(value is None or isinstance(value, int | float) for value in policy.values()),
    }
    path = directory.path / "config.json"
    if not isinstance(config.get("script"), str):
        raise OutputError(f"{directory}: no config.json that names a script: there is nothing to go on with. Run it again.")
    if wrong := [f"{name} is {config[name]!r:.60}" for name, fine in sound.items() if not fine]:
        raise OutputError(f"{path}: {'; '.join(wrong)}. It was changed or damaged: bring it back from a copy, or run it again.")
    return config


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _found(script: Path, directory: RunDirectory) -> Path:
    if not script.is_file():
        kept = f" A copy of it as it last ran: {directory.script}." if directory.script.is_file() else ""
        raise ParameterError(
            f"{script}: there is no such script. Say where it is: dist-sim resume {directory.path} --script FILE.py.{kept}"
        )
    return script


def _go_back_to(folder: str | None, tell: Callable[[str], None]) -> None:
    """To the working directory of the run, which the paths in its script may start from."""
    try:
        os.chdir(folder or ".")
    except OSError as error:
        tell(f"warning: {folder}, where this run began: {error.strerror}. The script runs in {Path.cwd()}.")
