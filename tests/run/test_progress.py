"""A log gets whole lines at the pace asked for; a terminal gets a bar; a program that asked for nothing gets nothing."""

from __future__ import annotations

import io
import time

import pytest

from dist_sim.run import progress as progress_module
from dist_sim.run.directory import RunDirectory
from dist_sim.run.progress import Phases, Progress
from dist_sim.run.session import Session


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_plain_lines(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(progress_module.time, "perf_counter", lambda: clock[0])
    stream, directory = io.StringIO(), RunDirectory(tmp_path / "run")
    with Progress(1000.0, directory=directory, show=True, stream=stream) as progress:
        for k in range(1, 11):
            clock[0] += 10.0
            progress.update(100.0 * k, rate=4.2)
            if k == 5:
                assert (progress.rtf, progress.eta_s) == (100.0, 50.0)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4 and "\r" not in stream.getvalue()
    assert lines[0] == "dist-sim: 300.0 ms of 1000.0 ms (30.0 %)  RTF 100.00  rate 4.20 Hz  ETA 0:01:10  checkpoint none"
    status = directory.read_json("status.json")
    assert status is not None
    assert status["model_time_ms"] == 1000.0 and status["eta_s"] == 0.0 and status["state"] == "running"
    assert (directory.path / "log.txt").read_text().count("RTF") == 4


def test_a_bar_on_a_terminal(monkeypatch):
    monkeypatch.setattr(progress_module, "SHORT", 0.0)
    stream = Terminal()
    with Progress(10.0, stream=stream) as progress:
        progress.update(5.0, rate=1.0)
        progress.update(10.0, rate=1.0)
    assert "simulate" in stream.getvalue() and stream.getvalue().endswith("checkpoint none\n")


def test_short_pieces_go_unmentioned(tmp_path):
    stream, directory = io.StringIO(), RunDirectory(tmp_path / "run")
    for _ in range(100):
        with Progress(1.0, directory=directory, show=True, stream=stream) as progress:
            progress.update(1.0)
    assert stream.getvalue() == "" and not (directory.path / "log.txt").exists()
    with pytest.raises(KeyError), Progress(1.0, show=True, stream=stream):
        raise KeyError
    assert "0.0 ms of 1.0 ms" in stream.getvalue()


def test_the_status_says_the_phase(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    with Session(directory=directory).active():
        for name in ("connect", "compile"):
            with Phases().phase(name):
                assert (directory.read_json("status.json") or {})["phase"] == name
        with Progress(1.0, directory=directory):
            assert (directory.read_json("status.json") or {})["phase"] == "simulate"


def test_silent_without_a_session_and_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress_module, "SHORT", 0.0)
    with Progress(10.0) as progress:
        progress.update(10.0)
    assert capsys.readouterr() == ("", "")
    with Session().active(), Progress(10.0) as progress:
        progress.update(10.0)
    assert "10.0 ms of 10.0 ms" in capsys.readouterr().err


def test_a_run_of_length_0_divides_nothing():
    with Progress(0.0, show=True, stream=io.StringIO()) as progress:
        pass
    assert progress.rtf is None and "100.0 %" in progress.standing()


def test_phases_add_up_and_long_ones_are_told(monkeypatch):
    monkeypatch.setattr(progress_module, "PHASE_SHOWN_AFTER", 0.02)
    stream = io.StringIO()
    phases = Phases(show=True, stream=stream)
    with phases.phase("short"):
        pass
    for _ in range(2):
        with phases.phase("connect") as count:
            count.update(45, 100)
            time.sleep(0.1)
    assert set(phases.seconds) == {"short", "connect"} and phases.seconds["connect"] >= 0.2
    assert "connect ... 45 %" in stream.getvalue() and "connect: done in 0.1 s" in stream.getvalue()
    assert "short" not in stream.getvalue()


def test_a_phase_that_fails_is_timed_as_well():
    phases = Phases(show=False)
    with pytest.raises(KeyError), phases.phase("connect"):
        raise KeyError
    assert "connect" in phases.seconds
