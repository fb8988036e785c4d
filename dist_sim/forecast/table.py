"""`dist-sim plan`: the forecast of a script's network on numbers of devices, as a table."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dist_sim.errors import DeviceError, ParameterError, UnknownNameError
from dist_sim.forecast.forecast import forecast
from dist_sim.forecast.machines import MACHINES, Machine, cpu
from dist_sim.partition.processes import own_cores
from dist_sim.run.planning import Planned, planning
from dist_sim.simulator.assembly import Description

MOST_DEVICES = 10_000
HERE = "here"  # the kind of device that is measured
LARGEST = 4  # arrays that are shown


def machine_named(kind: str, cores: int | None, backend: str | None = None) -> Machine:
    """The kind of device of this name; `cores` of a CPU device, None for those that this process may use; `backend` of a GPU,
    None for its usual one. `here` is one of this machine that is still to be measured.

    Raises:
        UnknownNameError, ParameterError.
    """
    if backend is not None and kind not in MACHINES:
        raise ParameterError(f"--backend {backend}: for a --device of {', '.join(MACHINES)}.")
    if cores is not None and (kind != "cpu" or cores < 1):
        raise ParameterError(f"--cores {cores}: a number of at least 1, for --device cpu.")
    if kind in ("cpu", HERE):
        here = len(own_cores())
        return cpu(cores or here)
    if kind not in MACHINES:
        raise UnknownNameError("device", kind, ["cpu", HERE, *MACHINES], where="plan")
    machine = MACHINES[kind]
    allowed = ("cuda", "reference") if machine.platform == "gpu" else (machine.backend,)
    if backend not in (None, *allowed):
        raise UnknownNameError("backend", backend, allowed, where=f"plan --device {kind}")
    return replace(machine, backend=backend or machine.backend)


def numbers(text: str) -> list[int]:
    """`1,8,64` as numbers of devices.

    Raises:
        ParameterError: not that.
    """
    parts = [part.strip().replace("_", "") for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= MOST_DEVICES for part in parts):
        raise ParameterError(f"--devices {text}: numbers from 1 to {MOST_DEVICES:,}, as in 1,8,64.")
    return sorted({int(part) for part in parts})


def described(script: Path, arguments: Sequence[str]) -> tuple[Description, int]:
    """Runs a script up to its first simulation; returns the description of the network, and the steps asked for.

    Raises:
        ParameterError: the script ends before.
    """
    argv, path = sys.argv, list(sys.path)
    sys.argv, sys.path[:] = [str(script), *arguments], [str(script.resolve().parent), *path]
    try:
        with planning():
            runpy.run_path(str(script), run_name="__main__")
    except Planned as planned:
        return planned.description, planned.steps
    except SystemExit:
        pass
    finally:
        sys.argv, sys.path[:] = argv, path
    raise ParameterError(f"{script}: ended without a simulation (Simulator.simulate), so there is nothing to plan.")


def show_plan(description: Description, steps: int, devices: Sequence[int], kind: str, machine: Machine, rate: float) -> None:
    """Prints the table.

    Raises:
        DeviceError: the network fits on none of these numbers of devices, or needs numbers of 64 bits that they have not.
    """
    if description.precision == 64 and machine.platform == "tpu":
        raise DeviceError(f"{kind}: it has no floating-point numbers of 64 bits. Use precision=32.")
    console = Console(width=None if sys.stdout.isatty() else 130)
    found = [forecast(description, n, machine, rate=rate) for n in devices]
    first = found[0]
    console.print(
        f"{first.neurons:,} neurons, {first.synapses:,.0f} synapses expected, {rate:g} Hz; {kind}: {machine.source}"
        + (f"; backend {machine.backend}, {first.launches} launches of a step" if first.launches else "")
        + ("" if machine.measured else "; its times are estimates, not measured")
    )
    titles = ("devices", "on a device", "its process", "build", "exchange", "every", "step", "RTF", "this simulation", "")
    table = Table(*titles, box=None, pad_edge=False, header_style="")
    for column in table.columns[:-1]:
        column.justify = "right"
    refused: list[DeviceError] = []
    for f in found:
        verdict = "fits"
        try:
            f.check(machine, kind)
        except DeviceError as error:
            refused.append(error)
            verdict = "does not fit"
        table.add_row(
            f"{f.devices:,}", _bytes(f.device_bytes), _bytes(f.process), _time(f.build_s), _bytes(f.exchange_bytes),
            f"{f.interval * description.dt:g} ms", _time(f.step_s), f"{f.step_s / (description.dt * 1e-3):.3g}",
            _time(f.step_s * steps), verdict,
        )  # fmt: skip
    console.print(table)
    for f in (found[0], found[-1])[: len(found)]:
        parts = sorted(f.arrays.items(), key=lambda item: -item[1])[:LARGEST]
        console.print(f"on each of {f.devices:,}: " + ", ".join(f"{name} {_bytes(size)}" for name, size in parts))
    if len(refused) == len(found):
        raise refused[-1]


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def _time(seconds: float) -> str:
    for scale, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"
