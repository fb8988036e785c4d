"""The command line: `dist-sim run FILE.py`, `resume DIR`, `digest DIR`, `submit FILE.py`, `plan FILE.py`, `doctor`.

A plain script becomes a run with devices, progress, a run directory and a summary, without a change to it.
Over 400 lines because it is the only module of its floor: the one place that may use both `cluster` and the floors below.
"""

from __future__ import annotations

import hashlib
import linecache
import os
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from dist_sim.cluster.bootstrap import HEARTBEAT_S, check_agreement, start
from dist_sim.cluster.doctor import doctor
from dist_sim.cluster.ending import Ending
from dist_sim.cluster.launch import detect
from dist_sim.cluster.submit import submit_command
from dist_sim.errors import DeviceError, DistSimError, OutputError, ParameterError, UnknownNameError
from dist_sim.partition.processes import ALONE, Processes, all_processes
from dist_sim.run.checkpoint import CheckpointPolicy, seconds_of
from dist_sim.run.directory import RunDirectory, default_directory
from dist_sim.run.provenance import provenance, versions
from dist_sim.run.session import Session, check_declared, declared_params, split_assignments
from dist_sim.run.stop import STOPPED, Stop, Stopped

DONE, BAD_INPUT, INTERNAL, OUTPUT, INTERRUPTED = 0, 64, 70, 74, 130
RASTER_WINDOW_MS = 1000.0
DEVICES_HELP = "Devices to run on, of all processes together.  [default: one, or all of several processes]"
EVERY_HELP = "Wall time between checkpoints: 15min, 30s, never.  [default: what loses least]"

# Several processes end together; one of them says why.
_ending: ContextVar[Ending] = ContextVar("ending")

# How several processes are started without a launcher: the same flags, with another --process each.
Coordinator = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Of process 0, of several that no launcher starts.")]
Count = Annotated[int | None, typer.Option("--processes", min=1, help="How many processes.")]
Index = Annotated[int | None, typer.Option("--process", min=0, help="Which one this is, from 0.")]
Heartbeat = Annotated[int, typer.Option(min=2, metavar="SECONDS", help="A process that is silent so long is dead.")]

app = typer.Typer(
    name="dist-sim", help="Spiking networks, the same spikes on any number of devices.", no_args_is_help=True,
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip


@app.callback()
def _commands() -> None:
    """Spiking networks, the same spikes on any number of devices."""


@app.command(add_help_option=False)
def run(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(metavar="FILE.py", help="The script.", show_default=False)] = None,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[-- ARGS]", help="For the script's sys.argv.")] = None,
    devices: Annotated[int | None, typer.Option(min=1, help=DEVICES_HELP)] = None,
    out: Annotated[Path | None, typer.Option(help="The run directory.  [default: runs/FILE-<date-time>]")] = None,
    assignments: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter.")] = None,
    every: Annotated[str | None, typer.Option("--checkpoint-every", metavar="TIME", help=EVERY_HELP)] = None,
    keep_last: Annotated[int, typer.Option(min=1, help="How many of the newest checkpoints stay.")] = 2,
    keep_every: Annotated[str | None, typer.Option(metavar="TIME", help="Besides, one per so much model time.")] = None,
    max_hours: Annotated[float | None, typer.Option(min=0, help="Save and leave with code 75 by then.")] = None,
    coordinator: Coordinator = None,
    processes: Count = None,
    process: Index = None,
    heartbeat: Heartbeat = HEARTBEAT_S,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of every error.")] = False,
    help_: Annotated[bool, typer.Option("--help", help="Show this, and the parameters of FILE.py.")] = False,
) -> None:
    """Run a script: set up devices, show progress, write the run directory, print a summary.

    Started by srun, mpirun or on a TPU pod, the processes are one run; process 0 shows it and writes its results.

    SIGTERM and SIGUSR1 have it save, and leave with code 75 at the next safe point.

    Exit codes: 0 done, 64 bad input, 70 internal error or a bug in the script, 74 output error, 75 stopped, to be resumed.
    """
    if help_ or file is None:
        typer.echo(context.get_help())
        if file is not None and file.is_file():
            _print_parameters(file)
        raise typer.Exit(DONE if help_ else BAD_INPUT)
    with _errors_become_exit_codes(debug):
        if not file.is_file():
            raise UnknownNameError("script", str(file), [str(path) for path in file.parent.glob("*.py")])
        policy = CheckpointPolicy(
            every=None if every is None else seconds_of(every, "--checkpoint-every"),
            keep_last=keep_last,
            keep_every=None if keep_every is None else 1e3 * seconds_of(keep_every, "--keep-every"),
        )
        parameters = split_assignments(assignments or [])
        if parameters:
            check_declared(parameters, file)
        told = {"arguments": arguments, "parameters": parameters, "--devices": devices, "checkpoints": policy}
        here = _meet(coordinator, processes, process, devices, heartbeat, file, told)
        directory = _claimed(here, lambda: RunDirectory(out or default_directory(file)))
        session = Session(
            devices=devices, out=directory.path, parameters=parameters, command=("dist-sim", *sys.argv[1:]), script=file,
            arguments=tuple(arguments or ()), checkpoints=policy, stop=_stop(max_hours), directory=directory,
        )  # fmt: skip
        raise typer.Exit(_run_script(session, directory, here, debug))


@app.command()
def resume(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A run directory.", exists=True, file_okay=False)],
    devices: Annotated[int | None, typer.Option(min=1, help="Devices to run on.  [default: as many as before]")] = None,
    every: Annotated[str | None, typer.Option("--checkpoint-every", metavar="TIME", help=EVERY_HELP)] = None,
    max_hours: Annotated[float | None, typer.Option(min=0, help="Save and leave with code 75 by then.")] = None,
    coordinator: Coordinator = None,
    processes: Count = None,
    process: Index = None,
    heartbeat: Heartbeat = HEARTBEAT_S,
    allow_changed: Annotated[bool, typer.Option("--allow-changed", help="Also if network or script have changed.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of every error.")] = False,
) -> None:
    """Go on with a run from its newest sound checkpoint, on any number of devices.

    The script is run again; what it simulates begins where the checkpoint was taken. Exit codes as those of `run`.
    """
    with _errors_become_exit_codes(debug):
        # What the run directory says of the devices is needed before JAX, and with it the other processes, can be asked.
        before = RunDirectory.open(directory).read_json("config.json") or {}
        script, devices = Path(before.get("script") or directory), before.get("devices") if devices is None else devices
        here = _meet(coordinator, processes, process, devices, heartbeat, script, {"--devices": devices, "config": before})
        opened = _claimed(here, lambda: RunDirectory.resume(directory), resumed=True)
        try:
            config, status = opened.read_json("config.json"), opened.read_json("status.json") or {}
            if status.get("state") == "done":
                _complain(f"{directory}: this run is done.")
                raise typer.Exit(DONE)
            if config is None or config.get("script") is None:
                raise OutputError(
                    f"{directory}: no config.json that names a script: there is nothing to go on with. Run it again."
                )
            script = Path(config["script"])
            if not script.is_file():
                raise UnknownNameError("script", str(script), [str(path) for path in script.parent.glob("*.py")])
            policy = CheckpointPolicy(**config["checkpoints"] or {})
            if every is not None:
                policy = replace(policy, every=seconds_of(every, "--checkpoint-every"))
            session = Session(
                devices=devices, out=opened.path, parameters=config["set"], command=("dist-sim", *sys.argv[1:]), script=script,
                arguments=tuple(config["arguments"]), checkpoints=policy, stop=_stop(max_hours), allow_changed=allow_changed,
                directory=opened,
            )  # fmt: skip
        except BaseException:
            opened.close()
            raise
        raise typer.Exit(_run_script(session, opened, here, debug))


@app.command()
def plan(
    file: Annotated[Path, typer.Argument(metavar="FILE.py", help="The script.", show_default=False)],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[-- ARGS]", help="For the script's sys.argv.")] = None,
    devices: Annotated[str, typer.Option(metavar="N,M,...", help="Numbers of devices.")] = "1,10,100,1000,10000",
    device: Annotated[str, typer.Option(help="Their kind: cpu, h200, h100, a100, a100-40gb.")] = "cpu",
    cores: Annotated[int | None, typer.Option(help="Of a cpu device.  [default: those of this process]")] = None,
    rate: Annotated[float, typer.Option(min=0, help="Mean rate to expect of the neurons, Hz.")] = 5.0,
    assignments: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter.")] = None,
) -> None:
    """Say what a script will take, in bytes and time, before anything is built: it runs up to its first simulation.

    Exit codes: 0 it fits, 64 it fits on none of these numbers of devices, or bad input.
    """
    from dist_sim.nest.plan import described, machine_named, numbers, show_plan

    if not file.is_file():
        raise UnknownNameError("script", str(file), [str(path) for path in file.parent.glob("*.py")])
    machine, counts = machine_named(device, cores), numbers(devices)
    parameters = _read_parameters(assignments or [], [], file)
    with Session(parameters=parameters, script=file).active():
        description, steps = described(file, arguments or [])
    show_plan(description, steps, counts, device, machine, rate)


@app.command()
def digest(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A run directory.", exists=True, file_okay=False)],
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of every error.")] = False,
) -> None:
    """Print one SHA-256 over all recorded spikes: the same on any placement."""
    from dist_sim.run.digest import digest_of_reader
    from dist_sim.run.segment_reader import SegmentReader

    with _errors_become_exit_codes(debug):
        opened = RunDirectory.open(directory)
        reader = SegmentReader(opened.spikes_folder())
        found = digest_of_reader(reader)
        for line in reader.torn:
            _complain(f"warning: {line}")
        summary = opened.read_json("summary.json")
        if summary is not None and summary.get("digest") not in (None, found):
            raise OutputError(f"{directory}: the spikes have the digest {found}, summary.json says {summary['digest']}.")
        typer.echo(found)


def _read_parameters(assignments: list[str], besides: list[str], script: Path) -> dict[str, str]:
    """`--set` texts for a script that declares them, and names that are set besides."""
    parameters = split_assignments(assignments)
    for name in besides:
        if name in parameters:
            raise ParameterError(f"--set {name}={parameters[name]}: --array-seeds sets {name}. Give one of them.")
    check_declared(parameters | dict.fromkeys(besides, "..."), script)
    return parameters


app.command()(doctor)
app.command("submit")(submit_command(default_directory=default_directory, read_parameters=_read_parameters))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `dist-sim`; returns the exit code."""
    code = _command(arguments)
    ending = _together()
    if code == DONE:
        ending.finish()
    else:
        ending.fail(code)
    return code


def _command(arguments: Sequence[str] | None) -> int:
    try:
        code = app(args=None if arguments is None else list(arguments), prog_name="dist-sim", standalone_mode=False)
    except typer.Abort:
        return INTERRUPTED
    except DistSimError as error:
        _explain(error, debug=False)
        return _exit_code(error)
    except Exception as error:
        # A wrong option is bad input too; typer would exit with 2. Its error classes move between versions, their `show` stays.
        if (show := getattr(error, "show", None)) is None:
            if _together().speaks(INTERNAL):
                traceback.print_exception(error)
            return INTERNAL
        show()
        return BAD_INPUT
    return code if isinstance(code, int) else DONE


def _stop(max_hours: float | None) -> Stop:
    return Stop(None if max_hours is None else 3600 * max_hours)


def _run_script(session: Session, directory: RunDirectory, here: Processes, debug: bool) -> int:
    script, stop = session.script, session.stop
    assert script is not None and stop is not None
    code = INTERNAL

    def close(code: int) -> None:
        state = {DONE: "done", INTERRUPTED: "interrupted", STOPPED: "stopped"}.get(code, "failed")
        # On a full disk this fails as well, and must not hide the error that told of it.
        with suppress(OutputError):
            directory.update_status(state=state, exit_code=code, resumable=code == STOPPED)
            directory.log(f"{state}, exit code {code}")
        directory.close()

    _together().last = close
    try:
        with stop.listening():
            session.write_config()
            directory.write_json("provenance.json", provenance(script.resolve(), session.command))
            directory.update_status(state="running", pid=os.getpid(), exit_code=None)
            directory.log(" ".join(session.command))
            with session.active():
                code = _execute(session, debug)
            session.write_config()
            if code != STOPPED:
                stop.poll()
                # Also after an error: hours of spikes must not be lost to a mistake in the last line of a script.
                if here.index == 0:
                    _write_results(session)
            if code == DONE:
                session.check_all_asked()
    except Stopped:
        code = STOPPED
    except BaseException as error:
        code = _exit_code(error)
        raise
    finally:
        close(code)
    if code == STOPPED and here.index == 0:
        _complain(f"stopped. Go on with it: dist-sim resume {directory.path}")
    return code


def _execute(session: Session, debug: bool) -> int:
    """Run the script as python would, and return the exit code."""
    script = session.script
    assert script is not None and session.directory is not None
    argv, path = sys.argv, list(sys.path)
    sys.argv, sys.path[:] = [str(script), *session.arguments], [str(script.resolve().parent), *path]
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as ended:
        if isinstance(ended.code, str) and _together().speaks(1):
            _complain(ended.code)
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        if _together().speaks(INTERRUPTED):
            _complain("interrupted")
        return INTERRUPTED
    except DistSimError as error:
        _log(session, f"{type(error).__name__}: {error}")
        _explain(error, debug, script)
        return _exit_code(error)
    except BaseException as error:
        lines = _traceback_from(error, script)
        _log(session, "".join(lines))
        if _together().speaks(INTERNAL):
            sys.stderr.write("".join(lines))
        return INTERNAL
    finally:
        sys.argv, sys.path[:] = argv, path
    return DONE


def _write_results(session: Session) -> None:
    from dist_sim.io.report import raster_and_rates
    from dist_sim.io.sonata import write_spikes
    from dist_sim.run.summary import print_summary

    outcome, directory = session.outcome, session.directory
    summary, recording = outcome.summary, outcome.recording
    if summary is None or recording is None or directory is None:
        return
    recording.close()
    steps, ids = recording.steps, recording.ids
    print_summary(summary, where=str(directory.path))
    write_spikes(directory.results / "spikes.h5", outcome.populations, steps, ids, recording.dt)
    end_ms = summary["model_time_ms"]
    window_ms = min(end_ms, RASTER_WINDOW_MS)
    path = directory.results / "raster.png"
    if end_ms == 0:
        return
    if find_spec("matplotlib") is None:
        _complain(f"no {path.name}: it needs matplotlib (pip install matplotlib)")
    else:
        raster_and_rates(path, steps, ids, recording.dt, outcome.populations, summary["rates"], window_ms, end_ms=end_ms)


def _meet(
    coordinator: str | None, processes: int | None, process: int | None, devices: int | None, heartbeat: int, script: Path,
    told: Mapping[str, object],
) -> Processes:  # fmt: skip
    """Start JAX, over all processes that were started as this one; they must run the same program."""
    launch = detect(os.environ, coordinator=coordinator, processes=processes, process=process)
    ending = Ending(launch.processes, launch.process)
    _ending.set(ending)
    if launch.note:
        _complain(f"note: {launch.note}")
    start(launch, devices, heartbeat_s=heartbeat)
    if launch.processes == 1:
        return ALONE
    ending.listen()
    package = [path.read_bytes() for path in sorted(Path(__file__).parent.rglob("*.py"))]
    check_agreement({
        "script": script.read_bytes().hex() if script.is_file() else "",
        **{name: repr(value) for name, value in told.items()},
        "versions": repr(versions()),
        "code of dist_sim": hashlib.sha256(b"".join(package)).hexdigest(),
    })  # fmt: skip
    return all_processes()


def _together() -> Ending:
    return _ending.get(None) or Ending()


def _claimed(here: Processes, claim: Callable[[], RunDirectory], *, resumed: bool = False) -> RunDirectory:
    """The run directory, which process 0 claims for all."""
    directory = claim() if here.index == 0 else None
    path = here.first("" if directory is None else str(directory.path.resolve()))
    return RunDirectory.join(path, resumed=resumed) if directory is None else directory


def _print_parameters(script: Path) -> None:
    declared = declared_params(script)
    if declared.defaults:
        typer.echo(f"Parameters of {script} (--set NAME=VALUE):")
        width = max(map(len, declared.defaults))
        for name, default in declared.defaults.items():
            typer.echo(f"  {name:<{width}}  {default}")
    else:
        typer.echo(f"{script} declares no parameters (dist_sim.param).")


@contextmanager
def _errors_become_exit_codes(debug: bool) -> Iterator[None]:
    try:
        yield
    except DistSimError as error:
        _explain(error, debug)
        raise typer.Exit(_exit_code(error)) from None


def _exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if not isinstance(error, DistSimError):
        return INTERNAL
    if isinstance(error, OutputError):
        return OUTPUT
    return BAD_INPUT if isinstance(error, (ValueError, TypeError, LookupError, DeviceError)) else INTERNAL


def _explain(error: DistSimError, debug: bool, script: Path | None = None) -> None:
    if not _together().speaks(_exit_code(error)):
        return
    if debug:
        traceback.print_exception(error)
    _complain(f"{type(error).__name__}: {error}")
    if script is not None:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(script)]
        if frames:
            line = linecache.getline(frames[-1].filename, frames[-1].lineno or 0).strip()
            typer.echo(f"  {script}, line {frames[-1].lineno}: {line}", err=True)


def _log(session: Session, text: str) -> None:
    # The error that is logged may be that of a full disk.
    with suppress(OutputError):
        if session.directory is not None:
            session.directory.log(text)


def _traceback_from(error: BaseException, script: Path) -> list[str]:
    """The traceback without the frames between the command line and the script."""
    if isinstance(error, SyntaxError) and error.filename == str(script):
        return traceback.format_exception_only(error)
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != str(script):
        trace = trace.tb_next
    return traceback.format_exception(type(error), error, trace or error.__traceback__)


def _complain(text: str) -> None:
    typer.echo(f"dist-sim: {text}", err=True)


if __name__ == "__main__":
    sys.exit(main())
