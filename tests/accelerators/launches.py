"""What a compiled program launches on a GPU, counted in the text of XLA's optimised program."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

# Operations that launch nothing: they name what is there, or where.
_FREE = {"parameter", "get-tuple-element", "tuple", "bitcast", "constant", "after-all", "partition-id", "replica-id"}


@dataclass
class Launches:
    """Of one computation: operations by name, and what it repeats or chooses between: (loops' bodies, branches)."""

    counts: Counter[str] = field(default_factory=Counter)
    loops: list[Launches] = field(default_factory=list)
    branches: list[Launches] = field(default_factory=list)

    @property
    def kernels(self) -> int:
        """Launches of one pass, without what is inside its loops and branches."""
        return sum(n for name, n in self.counts.items() if name not in ("while", "conditional"))


def launches(text: str) -> Launches:
    """Of the entry of a program, `compiled.as_text()`."""
    programs = _computations(text)
    entry = re.search(r"^ENTRY %?([\w.\-]+)", text, re.MULTILINE)
    assert entry is not None
    return _of(programs, entry.group(1))


def the_step(program: Launches) -> Launches:
    """The body of the loop over steps: the only loop of the entry."""
    (body,) = program.loops
    return body


def _computations(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    name = None
    for line in text.splitlines():
        if head := re.match(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{\s*$", line):
            name = head.group(1)
            found[name] = []
        elif line.startswith("}"):
            name = None
        elif name is not None:
            found[name].append(line.strip())
    return found


def _of(programs: dict[str, list[str]], name: str) -> Launches:
    found = Launches()
    for line in programs[name]:
        operation = re.match(r"(?:ROOT )?%?[\w.\-]+ = .*?\s([a-z][\w\-]*)\(", line)
        if operation is None or operation.group(1) in _FREE:
            continue
        what = operation.group(1)
        if what == "call":
            inside = _of(programs, _named("to_apply", line))
            found.counts += inside.counts
            found.loops += inside.loops
            found.branches += inside.branches
            continue
        found.counts[what] += 1
        if what == "while":
            found.loops.append(_of(programs, _named("body", line)))
        elif what == "conditional":
            several = re.search(r"branch_computations=\{([^}]*)\}", line)
            if several is not None:
                found.branches += [_of(programs, part.strip().lstrip("%")) for part in several.group(1).split(",")]
            else:
                found.branches += [_of(programs, _named(f"{kind}_computation", line)) for kind in ("true", "false")]
    return found


def _named(key: str, line: str) -> str:
    found = re.search(rf"{key}=%?([\w.\-]+)", line)
    assert found is not None, line
    return found.group(1)
