"""What Linux control groups (those of containers and of batch jobs) let this process have, of versions 1 and 2.

A limit holds for a group and all below it: the smallest one on the path from the process's own group to the root counts.
Source: cgroups(7); Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst of Linux.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

ROOT = Path("/")
_UNLIMITED = 2**60  # version 1 says so by the largest number of pages


class Limit(NamedTuple):
    """Bytes, and the file that says so."""

    bytes: int
    file: Path


def memory_limit(root: Path = ROOT) -> Limit | None:
    """The smallest limit of memory, None without one.

    Args:
        root: where `proc` and the mounted groups lie.
    """
    found = []
    for group, version in _groups("memory", root):
        file = group / ("memory.max" if version == 2 else "memory.limit_in_bytes")
        if (text := _read(file)).isdecimal():
            found.append(Limit(int(text), file))
        # Of groups above that are not to be seen from a container.
        above = re.search(r"^hierarchical_memory_limit (\d+)$", _read(group / "memory.stat"), re.MULTILINE)
        if version == 1 and above is not None:
            found.append(Limit(int(above[1]), group / "memory.stat"))
    # Where a group above says so itself, its own file is named.
    known = [limit for limit in found if limit.bytes < _UNLIMITED]
    return min(known, key=lambda limit: (limit.bytes, limit.file.name == "memory.stat"), default=None)


def cpu_quota(root: Path = ROOT) -> float | None:
    """The smallest limit of processor time, as a number of cores; None without one."""
    found = []
    for group, version in _groups("cpu", root):
        if version == 2:
            granted, _, period = _read(group / "cpu.max").partition(" ")
        else:
            granted, period = (_read(group / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        if granted.isdecimal() and period.isdecimal() and int(period):
            found.append(int(granted) / int(period))
    return min(found, default=None)


def _groups(controller: str, root: Path) -> Iterator[tuple[Path, int]]:
    """The folder of this process's group, and of every one above it that is to be seen, with the version."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        version = 1 if controllers else 2
        if version == 1 and controller not in controllers.split(","):
            continue
        mount, top = _mounted(controller, version, root)
        inside = PurePosixPath(group)
        # A container sees its own group where it is mounted; one above, from which it is hidden, is `..`.
        with suppress(ValueError):
            inside = PurePosixPath("/", inside.relative_to(top))
        own = mount.joinpath(*(part for part in inside.parts[1:] if part != ".."))
        own = own if own.is_dir() else mount
        while True:
            yield own, version
            if own == mount:
                break
            own = own.parent


def _mounted(controller: str, version: int, root: Path) -> tuple[Path, PurePosixPath]:
    """Where the groups are mounted, and which of them is the topmost there."""
    for line in _read(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, of_system = before.split(), after.split()
        if len(fields) < 5 or not of_system:
            continue
        known = of_system[0] == "cgroup2" if version == 2 else of_system[0] == "cgroup" and controller in of_system[-1].split(",")
        if known:
            return root / _unescaped(fields[4]).lstrip("/"), PurePosixPath(_unescaped(fields[3]))
    return root / "sys/fs/cgroup" / (controller if version == 1 else ""), PurePosixPath("/")


def _unescaped(text: str) -> str:
    return re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), text)


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
