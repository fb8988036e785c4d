"""The public names of the libraries that programs come from, and what each of them is here: `python tests/names/table.py`.

A name is "here" when it exists with the same arguments. All others have a reason in `reasons.toml`: "differs", it exists and does
something else on purpose; "not", it does not exist. With `since`, a reason holds from that brainstate on. `in_work.toml` has
the same form; a name in it may be there already.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import tomllib
import types
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import brainunit as u
import numpy as np

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / ".docs" / "names.md"
# Where programs find a name, and where it is here.
NAMESPACES = {
    "brainstate": "dist_sim",
    "brainstate.nn": "dist_sim.models.nn",
    "brainstate.transform": "dist_sim.core.transform",
    "brainstate.random": "dist_sim.core.random",
    "brainstate.environ": "dist_sim.core.environ",
    "brainstate.graph": "dist_sim.core.graph",
    "brainstate.util.filter": "dist_sim.core.filters",
    "braintools.init": "dist_sim.models.init",
    "braintools.optim": "dist_sim.models.optim",
    "braintools.metric": "dist_sim.models.metric",
    "braintools.surrogate": "dist_sim.models.surrogate",
    "brainpy.state": "dist_sim",
}
LIBRARIES = ("brainstate", "brainpy", "braintools", "brainunit")


class Row(NamedTuple):
    """What one name of a reference is here."""

    namespace: str
    name: str
    exists: bool
    mismatch: str  # how the arguments differ, "" where they do not
    reason: str
    kind: str  # of the reason: "differs", "not", or ""

    @property
    def status(self) -> str:
        if not self.exists:
            return f"not: {self.reason}"
        return f"differs: {self.reason}" if self.mismatch else "here"


def public(module: types.ModuleType) -> list[str]:
    """What a module says is public; modules of it are not, but where they are namespaces of ours."""
    names = getattr(module, "__all__", None) or [name for name in dir(module) if not name.startswith("_")]
    return sorted({name for name in names if not isinstance(getattr(module, name, None), types.ModuleType)})


def reasons(file: str) -> dict[tuple[str, str], tuple[str, str]]:
    """(namespace, name): (kind, reason), of a file of reasons, of those that hold for the brainstate that is installed."""
    path = HERE / file
    if not path.exists():
        return {}
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for group in tomllib.loads(path.read_text())["reason"]:
        if _release(group.get("since", "0")) > _release(version("brainstate")):
            continue
        kind = "not" if "not" in group else "differs"
        for namespace in group["in"].split():
            for name in group["names"].split():
                assert (namespace, name) not in found, f"{file}: {namespace}.{name} is there twice"
                found[namespace, name] = kind, group[kind]
    return found


def rows() -> Iterator[Row]:
    """A row for each public name of each namespace."""
    known = {**reasons("in_work.toml"), **reasons("reasons.toml")}
    for namespace, home in NAMESPACES.items():
        reference, ours = importlib.import_module(namespace), importlib.import_module(home)
        for name in public(reference):
            there, here = getattr(reference, name, None), getattr(ours, name, None)
            kind, reason = known.get((namespace, name), ("", ""))
            yield Row(namespace, name, here is not None, "" if here is None else mismatch(there, here), reason, kind)


def mismatch(there: Any, here: Any) -> str:
    """How the arguments of two things differ: ours may have more, at the end and with defaults; "" where they do not."""
    theirs, ours = arguments(there), arguments(here)
    if theirs is None:
        return ""
    if ours is None:
        return "takes no arguments here"
    takes_all = {p.kind for p in ours}
    for index, parameter in enumerate(theirs):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            if parameter.kind not in takes_all:
                return f"no {parameter.name} of any number"
            continue
        found = next((p for p in ours if p.name == parameter.name), None)
        if found is None:
            return f"no {parameter.name}"
        if parameter.kind is not parameter.KEYWORD_ONLY and (index >= len(ours) or ours[index] is not found):
            return f"{parameter.name} stands elsewhere"
        if found.kind is not parameter.kind and parameter.kind is not parameter.KEYWORD_ONLY:
            return f"{parameter.name} is {found.kind.description}"
        if not alike(parameter.default, found.default):
            return f"{parameter.name}={shown(found.default)}, not {shown(parameter.default)}"
    names = {p.name for p in theirs}
    for parameter in ours:
        needed = parameter.default is parameter.empty and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if parameter.name not in names and needed:
            return f"needs {parameter.name}"
    return ""


def arguments(found: Any) -> list[inspect.Parameter] | None:
    """The arguments of a function, or to make an instance of a class; None for what is no such thing."""
    if not callable(found) or (inspect.isclass(found) and issubclass(found, BaseException)):
        return None
    try:
        # Of a class, not what its metaclass takes, but what reaches the instance.
        if inspect.isclass(found):
            return list(inspect.signature(found.__init__).parameters.values())[1:]
        return list(inspect.signature(found).parameters.values())
    except (ValueError, TypeError):
        return None


def alike(theirs: Any, ours: Any) -> bool:
    """Two defaults mean the same: equal, or of the same name, or initialisers and the like of the same kind and numbers."""
    empty = inspect.Parameter.empty
    if theirs is empty or ours is empty:
        return ours is theirs or theirs is empty
    # Of a decorator that is called with options alone.
    if type(theirs).__name__ == "Missing":
        return ours is None
    if isinstance(theirs, u.Quantity) or isinstance(ours, u.Quantity):
        return u.have_same_dim(theirs, ours) and bool(u.math.allclose(theirs, ours, rtol=1e-9))
    if isinstance(theirs, type) or inspect.isfunction(theirs):
        return getattr(ours, "__name__", "") == theirs.__name__
    if isinstance(theirs, bool | int | float | str | tuple | np.ndarray | None.__class__):
        return type(ours) in (int, float, type(theirs)) and bool(np.all(theirs == ours))
    if type(theirs).__name__ != type(ours).__name__:
        return repr(theirs) == repr(ours)
    return type(ours).__name__ not in ("Constant", "ZeroInit") or bool(u.math.allclose(theirs(3), ours(3)))


def shown(default: Any) -> str:
    return "nothing" if default is inspect.Parameter.empty else getattr(default, "__name__", f"{default!r:.40}")


def _release(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


def versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in LIBRARIES)


def page() -> str:
    """The table, as `.docs/names.md` has it."""
    found = list(rows())
    lines = [
        "# Names of brainstate, braintools and brainpy.state, and what they are here",
        "",
        "Written by `python tests/names/table.py`, beside " + versions() + ". A name is",
        "*here* when it exists with the same arguments. The tests in `tests/names` check both, and that each name that is",
        "not has a reason (`tests/names/reasons.toml`).",
        "",
        "| namespace | names | here | differs | not |",
        "| --- | --- | --- | --- | --- |",
    ]
    for namespace in NAMESPACES:
        own = [row for row in found if row.namespace == namespace]
        counts = [sum(row.status.split(":")[0] == status for row in own) for status in ("here", "differs", "not")]
        lines.append(f"| {namespace} | {len(own)} | {' | '.join(map(str, counts))} |")
    for namespace in NAMESPACES:
        groups: dict[str, list[str]] = {}
        for row in found:
            if row.namespace == namespace:
                groups.setdefault(row.status, []).append(row.name)
        lines += ["", f"## {namespace}", "", "| status | names |", "| --- | --- |"]
        order = sorted(groups, key=lambda status: (["here", "differs", "not"].index(status.split(":")[0]), status))
        lines += [f"| {status} | {' '.join(groups[status])} |" for status in order]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parents[1]))
    PAGE.write_text(page())
