"""The session of `dist-sim run`: what the command line gives a script, and what a Simulator gives back.

A script run by plain python has no session: `current_session()` is None, and `param(name, default)` is the default.
"""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, final

from dist_sim.errors import DistSimError, ParameterError, UnknownNameError
from dist_sim.partition.mesh import asked_devices
from dist_sim.run.checkpoint import CheckpointPolicy
from dist_sim.run.directory import RunDirectory
from dist_sim.run.heartbeat import Heartbeat
from dist_sim.run.provenance import script_checksum
from dist_sim.run.stop import Stop

if TYPE_CHECKING:
    from dist_sim.run.recording import Recording

Value = TypeVar("Value", bool, int, float, str)
BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_current: ContextVar[Session | None] = ContextVar("session", default=None)
_label: ContextVar[str | None] = ContextVar("label", default=None)


@final
@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run of a script left: its summary, the populations (name, first id, size), the recording."""

    summary: dict[str, Any]
    populations: list[tuple[str, int, int]]
    recording: Recording


@final
@dataclass(frozen=True, kw_only=True)
class Session:
    """One `dist-sim run`.

    Fields:
        devices: as given by `--devices`, or None for the Simulator's own choice.
        threads: of the kernels of each process, or None for one per core.
        out: the run directory's path; `directory`: the open run directory, or None to keep everything in memory.
        parameters: name -> text, as given by `--set`.
        command: the command line; script: the script's path; arguments: those for the script.
        checkpoints: when to take them; stop: what asks the run to end early; None for never.
        allow_changed: go on from a checkpoint of another network, script or parameters.
        declared: name -> value of the parameters that the script has asked for so far.
        outcomes: name -> what each run of the script left; None of one that has not come to an end.
        heartbeat: the signs of life.
        folder: the working directory in which it began; a script may change it.
        foresee: called, by all processes, with the description of a network that is about to be built.
    """

    devices: int | None = None
    threads: int | None = None
    out: Path | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    script: Path | None = None
    arguments: tuple[str, ...] = ()
    checkpoints: CheckpointPolicy | None = None
    stop: Stop | None = None
    allow_changed: bool = False
    directory: RunDirectory | None = None
    declared: dict[str, Any] = field(default_factory=dict)
    outcomes: dict[str, Outcome | None] = field(default_factory=dict)
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    folder: Path = field(default_factory=Path.cwd)
    foresee: Callable[[Any], None] | None = None

    @property
    def script_file(self) -> Path | None:
        """The script, wherever the working directory is now."""
        return None if self.script is None else (self.folder / self.script).resolve()

    @contextmanager
    def active(self) -> Iterator[Session]:
        """Within this context, `current_session()` is this session, and `run_mesh` takes its devices."""
        token = _current.set(self)
        try:
            with asked_devices(self.devices):
                yield self
        finally:
            _current.reset(token)

    def enroll(self, name: str | None) -> str:
        """Called when a run begins to record: its name among those of the script, with a number where it has been used, and in a
        sweep that of the point."""
        if (label := _label.get()) is not None:
            name = label if name is None else f"{name}-{label}"
        found, number = name or f"run-{len(self.outcomes) + 1}", 1
        while found in self.outcomes:
            number += 1
            found = f"{name or 'run'}-{number}"
        self.outcomes[found] = None
        return found

    def finish(
        self, name: str, summary: Mapping[str, Any], *, populations: Sequence[tuple[str, int, int]], recording: Recording
    ) -> None:
        """Called at the end of each `simulate()` of a run; its summary speaks of the whole model time."""
        known = [(str(n), int(first), int(size)) for n, first, size in populations]
        self.outcomes[name] = Outcome(summary={"name": name, **summary}, populations=known, recording=recording)
        if self.directory is not None:
            self.write_config()
            self.directory.write_json("summary.json", {"name": name, **summary})

    def write_config(self) -> None:
        """Write `config.json`: how to start this run again, and the parameters asked for so far, as resolved."""
        if self.directory is not None:
            config = {
                "script": self.script_file,
                "arguments": self.arguments,
                "folder": self.folder,
                "devices": self.devices,
                "checkpoints": self.checkpoints and asdict(self.checkpoints),
                "set": self.parameters,
                "parameters": self.declared,
            }
            self.directory.write_json("config.json", config)

    def identity(self) -> dict[str, str]:
        """What must be the same, besides the network, when a run goes on from a checkpoint."""
        told = {f"--set {name}": text for name, text in sorted(self.parameters.items())}
        if (file := self.script_file) is not None:
            # Not its name: a script that was moved, or is called by a link, is the same.
            told["script"] = f"xxh3 {script_checksum(file)}"
        if self.arguments:
            told["arguments"] = " ".join(self.arguments)
        return told

    def check_all_asked(self) -> None:
        """After the script: was every `--set` asked for?

        Raises:
            UnknownNameError: a name that no `param()` of the script has asked for.
        """
        for name in self.parameters:
            if name not in self.declared:
                raise UnknownNameError("parameter", name, self.declared, f"--set {name}={self.parameters[name]}")


def current_session() -> Session | None:
    """The session of `dist-sim run`, or None in a script run by plain python."""
    return _current.get()


@contextmanager
def labelled(label: str) -> Iterator[None]:
    """Within this context the names of runs bear a label."""
    token = _label.set(label)
    try:
        yield
    finally:
        _label.reset(token)


def is_labelled() -> bool:
    """Whether the names of runs bear a label here."""
    return _label.get() is not None


def tell(text: str, *, session: Session | None, process: int) -> None:
    """A line for the user, from process 0 of a run, and into its log."""
    if process == 0:
        print(f"dist-sim: {text}", file=sys.stderr, flush=True)
        if session is not None and session.directory is not None:
            session.directory.log(text)


def results_folder() -> Path:
    """Where a script puts files of its own: the results of its run directory, or the working directory without `dist-sim run`.

    Of several processes the first has the results; each other one, which runs the same lines, a folder `results-<process>`.
    """
    session = current_session()
    return Path() if session is None or session.directory is None else session.directory.results_of_script()


def param(name: str, default: Value) -> Value:
    """A parameter of a script: its default, or what `--set name=value` says, as the default's type.

    Write the name and the default as literals; then `dist-sim run --help FILE.py` lists them.

    Args:
        name: the name used with `--set`.
        default: a bool, int, float or str.

    Raises:
        ParameterError: a default of another type; a text that is no such value; two different defaults for one name.
    """
    if not isinstance(default, (bool, int, float, str)):
        raise ParameterError(
            f"param({name!r}, {default!r}): the default must be a bool, int, float or str, not {type(default).__name__}. "
            f"Give a bare number and put the unit on the result: param({name!r}, 1.0) * u.ms."
        )
    session = current_session()
    if session is None:
        return default
    value = _converted(name, session.parameters[name], default) if name in session.parameters else default
    before = session.declared.setdefault(name, value)
    if type(before) is not type(value) or before != value:
        raise ParameterError(f"param({name!r}, {default!r}): was {before!r} before. Give one name one default.")
    return value


def split_assignments(assignments: Sequence[str], option: str = "--set") -> dict[str, str]:
    """`name=value` texts, given by an option, as a dictionary.

    Raises:
        ParameterError: no `=`, no name, or a name given twice.
    """
    found: dict[str, str] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise ParameterError(f"{option} {text}: must be name=value, as in {option} scale=0.5.")
        if name.strip() in found:
            raise ParameterError(f"{option} {text}: {name.strip()} is given twice.")
        found[name.strip()] = value
    return found


@final
@dataclass(frozen=True, kw_only=True)
class DeclaredParams:
    """The `param()` calls of a script: name -> the default, as written; `open`: more may be asked for (computed names, `param` by
    another name)."""

    defaults: dict[str, str]
    open: bool


def declared_params(script: Path) -> DeclaredParams:
    """The `param("name", default)` calls in a script and in the modules beside it that it imports, without running them.

    Raises:
        SyntaxError: the script is no Python.
    """
    defaults: dict[str, str] = {}
    computed = False
    todo, seen = [script], set()
    while todo:
        path = todo.pop(0)
        if path in seen:
            continue
        seen.add(path)
        tree = ast.parse(path.read_bytes(), filename=str(path))
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _is_param(node.func):
                given = {keyword.arg: keyword.value for keyword in node.keywords}
                name = node.args[0] if node.args else given.get("name")
                default = node.args[1] if len(node.args) > 1 else given.get("default")
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    defaults.setdefault(name.value, ast.unparse(default) if default else "?")
                else:
                    computed = True
            elif (_is_param(node) and id(node) not in called) or (isinstance(node, ast.alias) and _renames_param(node)):
                computed = True
            else:
                todo += _modules_beside(node, script.parent)
    return DeclaredParams(defaults=defaults, open=computed)


def check_declared(parameters: Mapping[str, str], script: Path) -> None:
    """Before the script runs: does it ask for every `--set`?

    Raises:
        UnknownNameError: a name that no `param()` call asks for. (Where more may be asked for, only `check_all_asked` can tell.)
    """
    declared = declared_params(script)
    for name, text in parameters.items():
        if name not in declared.defaults and not declared.open:
            raise UnknownNameError("parameter", name, declared.defaults or ["(none)"], f"{script}: --set {name}={text}")


def _is_param(node: ast.AST) -> bool:
    return getattr(node, "attr" if isinstance(node, ast.Attribute) else "id", None) == "param"


def _renames_param(alias: ast.alias) -> bool:
    return alias.name.split(".")[-1] == "param" and alias.asname not in (None, "param")


def _modules_beside(node: ast.AST, folder: Path) -> list[Path]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [node.module or "", *(f"{node.module or ''}.{alias.name}".lstrip(".") for alias in node.names)]
    else:
        return []
    bases = [folder.joinpath(*name.split(".")) for name in names if name]
    return [path for base in bases for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()]


def _converted(name: str, text: str, default: Value) -> Value:
    where = f"--set {name}={text}: param({name!r}, {default!r})"
    if isinstance(default, bool):
        if text.strip().lower() not in BOOLEANS:
            raise ParameterError(f"{where} needs true or false.")
        return BOOLEANS[text.strip().lower()]
    if isinstance(default, str):
        return text
    try:
        number = float(text)
        if isinstance(default, float):
            if math.isnan(number):
                raise ParameterError(f"{where} needs a number, not NaN.")
            return number
        # 1e6 is a whole number to a person; int() of the text keeps more digits than a float does.
        return int(number) if any(c in text for c in ".eE") and number.is_integer() else int(text)
    except DistSimError:
        raise
    except (ValueError, OverflowError) as error:
        raise ParameterError(f"{where} needs a {'whole ' if isinstance(default, int) else ''}number.") from error
