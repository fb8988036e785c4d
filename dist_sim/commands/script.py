"""A script runs inside a session: as python would run it, with a run directory that tells how it went."""

from __future__ import annotations

import json
import os
import runpy
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from dist_sim.cluster.aborted import VERDICT_S, Aborted, speaks_of_others
from dist_sim.cluster.watch import Watch
from dist_sim.commands.ends import DONE, INTERNAL, INTERRUPTED, OUTPUT, complain, exit_code, explain, ours, together
from dist_sim.core import environ
from dist_sim.errors import OutputError
from dist_sim.io.report import raster_and_rates
from dist_sim.io.sonata import write_spikes
from dist_sim.kernels import compiler_failed
from dist_sim.partition.processes import Processes
from dist_sim.run.directory import RunDirectory, write_atomically
from dist_sim.run.disk_errors import made, unwritten
from dist_sim.run.provenance import provenance
from dist_sim.run.session import Outcome, Session
from dist_sim.run.stop import STOPPED, Stop, Stopped
from dist_sim.run.streams import outlasting
from dist_sim.run.summary import print_summary

RASTER_WINDOW_MS = 1000.0


def stop_after(max_hours: float | None) -> Stop:
    """What asks the run to stop: signals, and `--max-hours` from now on."""
    return Stop(None if max_hours is None else 3600 * max_hours)


def run_script(session: Session, directory: RunDirectory, here: Processes, debug: bool, stall: float) -> int:
    """Runs the script of a session, writes what there is to be written, and returns the exit code.

    Args:
        here: this process, of those that run it; stall: seconds without progress after which all are ended, 0 for never.

    Raises:
        DistSimError: what was found after the script's own end; the run directory tells of it.
    """
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

    def leave(code: int) -> None:
        with session.heartbeat.within("end"):
            close(code)
        watch.close()
        if aborted is not None:
            aborted.tidy()

    def tell(text: str) -> None:
        complain(text)
        _log(session, text)

    end = together()
    end.last, end.well = close, partial(leave, DONE)
    watch = Watch(here.count, here.index, session.heartbeat, seconds=stall, folder=directory.path, tell=tell, end=end.abandon)
    if stall:
        watch.start()

    def lost(processes: list[int]) -> int:
        # One of those that are left speaks, and writes how it ended.
        if here.index == min(set(range(here.count)) - set(processes), default=0):
            if 0 in processes:
                directory.take_over()
            them = f"process{'es' if len(processes) > 1 else ''} {', '.join(map(str, processes))}"
            tell(f"lost {them}: killed, or without an answer; all have ended. Go on with it: dist-sim resume {directory}")
            close(STOPPED)
        return STOPPED

    aborted = Aborted(directory.path / f"stderr-{here.index}.txt", lost, outlasting) if here.count > 1 else None
    try:
        with stop.listening():
            session.write_config()
            directory.write_json("provenance.json", provenance(session.script_file, session.command))
            directory.keep_script(script)
            directory.update_status(state="running", phase="script", pid=os.getpid(), exit_code=None)
            directory.log(" ".join(session.command))
            if environ.get_precision() == 64 and here.index == 0:
                tell("JAX_ENABLE_X64 is set: Modules compute in 64 bits; a Simulator as its `precision` says, 32 without it")
            with session.active(), _output(directory, here):
                code = _execute(session, debug, here.count)
            if code != OUTPUT:  # a disk that takes nothing more has been told of already
                session.write_config()
            if code not in (STOPPED, OUTPUT):
                # Also after an error: hours of spikes must not be lost to a mistake in the last line of a script.
                if here.index == 0:
                    with session.heartbeat.within("results"):
                        _write_results(session)
            if code == DONE:
                session.check_all_asked()
    except Stopped:
        code = STOPPED
    except BaseException as error:
        code = exit_code(error)
        raise
    finally:
        # Of several processes that do well, when all have: one may still fail, or be stuck and ask where this one is.
        if here.count == 1 or code != DONE:
            leave(code)
    if code == STOPPED and here.index == 0:
        complain(f"stopped. Go on with it: dist-sim resume {directory}")
    session.heartbeat.beat("its end")
    return code


@contextmanager
def _output(directory: RunDirectory, here: Processes) -> Iterator[None]:
    """What a script prints is seen once: what process 0 prints. That of every other process goes to a file of its own."""
    if here.index == 0:
        yield
        return
    path = directory.path / f"stdout-{here.index}.txt"
    try:
        file = path.open("a", buffering=1, encoding="utf-8")
    except OSError as error:
        raise unwritten(path, 0, error) from error
    with file, redirect_stdout(file):
        yield
    with suppress(OSError):
        if not path.stat().st_size:
            path.unlink()


def _execute(session: Session, debug: bool, processes: int) -> int:
    """Run the script as python would, and return the exit code."""
    script = session.script
    assert script is not None and session.directory is not None
    argv, path = sys.argv, list(sys.path)
    sys.argv, sys.path[:] = [str(script), *session.arguments], [str(script.resolve().parent), *path]
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as ended:
        if isinstance(ended.code, str) and together().speaks(1):
            complain(ended.code)
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        if together().speaks(INTERRUPTED):
            complain("interrupted")
        return INTERRUPTED
    except BaseException as error:
        if processes > 1 and speaks_of_others(error):
            time.sleep(VERDICT_S)  # one that is lost, JAX finds in that time: `Aborted` then ends this one
        if session.stop is not None and (reason := session.stop.reason()) is not None and compiler_failed(error):
            # What asks a whole group of processes to stop has ended the compiler.
            raise Stopped(reason) from None
        if (known := ours(error)) is not None:
            _log(session, f"{type(known).__name__}: {known}")
            explain(known.with_traceback(error.__traceback__), debug, script)
            return exit_code(known)
        lines = _traceback_from(error, script)
        _log(session, "".join(lines))
        if together().speaks(INTERNAL):
            sys.stderr.write("".join(lines))
        return INTERNAL
    finally:
        sys.argv, sys.path[:] = argv, path
    return DONE


def _write_results(session: Session) -> None:
    directory, outcomes = session.directory, [outcome for outcome in session.outcomes.values() if outcome is not None]
    if directory is None or not outcomes:
        return
    directory.enter("results")
    for outcome in outcomes:
        folder = directory.results
        if len(outcomes) > 1:
            folder = made(folder / outcome.summary["name"])
            write_atomically(folder / "summary.json", json.dumps(outcome.summary, indent=2, default=str) + "\n")
        last = outcome is outcomes[-1]
        print_summary(outcome.summary, where=str(directory) if last else None, named=len(outcomes) > 1)
        _write_outcome(outcome, folder)


def _write_outcome(outcome: Outcome, folder: Path) -> None:
    summary, recording = outcome.summary, outcome.recording
    recording.close()
    spikes = recording.so_far
    write_spikes(folder / "spikes.h5", outcome.populations, spikes)
    end_ms = summary["model_time_ms"]
    window_ms = min(end_ms, RASTER_WINDOW_MS)
    path = folder / "raster.png"
    if end_ms == 0:
        return
    if find_spec("matplotlib") is None:
        complain(f"no {path.name}: it needs matplotlib (pip install matplotlib)")
    else:
        # Of a population that is recorded in part there is no rate.
        drawn = [population for population in outcome.populations if population[0] in summary["rates"]]
        steps, ids = spikes.arrays(since=max(0, round((end_ms - window_ms) / spikes.dt)))
        raster_and_rates(path, steps, ids, spikes.dt, drawn, summary["rates"], window_ms, end_ms=end_ms)


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
