"""The watch over one process: what counts as stuck, what does not, and what is said."""

import time
from pathlib import Path

import pytest

from dist_sim.cluster.watch import STALLED, Standing, Watch, told
from dist_sim.run.heartbeat import Heartbeat

pytestmark = pytest.mark.alone

SECONDS = 0.5


@pytest.fixture
def watched(tmp_path):
    """watched(heartbeat): what a watch over it has said, and the code it has ended with, as lists."""
    watches = []

    def start(heartbeat):
        said, ended = [], []
        watch = Watch(1, 0, heartbeat, seconds=SECONDS, folder=tmp_path, tell=said.append, end=ended.append)
        watch.start()
        watches.append(watch)
        return said, ended

    yield start
    for watch in watches:
        watch.close()


def until(happened, limit=20.0):
    end = time.monotonic() + limit
    while not happened() and time.monotonic() < end:
        time.sleep(0.01)
    assert happened()


def test_a_phase_without_a_sign_is_ended_and_its_stacks_are_kept(watched, tmp_path):
    heartbeat = Heartbeat()
    said, ended = watched(heartbeat)
    with heartbeat.within("simulate"):
        heartbeat.beat("12 ms")
        begin = time.monotonic()
        until(lambda: ended)
    assert time.monotonic() - begin > SECONDS and ended == [STALLED]
    assert "process 0 is in simulate, at 12 ms, for" in said[0] and f"{Path(__file__).name}, line" in said[0]
    assert f"in {until.__name__}" in (tmp_path / "stacks-0.txt").read_text()


def test_signs_keep_a_phase_alive_and_the_script_may_take_its_time(watched):
    heartbeat = Heartbeat()
    _, ended = watched(heartbeat)
    with heartbeat.within("connect"):
        for k in range(40):
            heartbeat.beat(f"{k} of 40")
            time.sleep(SECONDS / 20)
    assert not ended
    time.sleep(2 * SECONDS)
    assert not ended


def test_a_slow_pace_is_no_standstill(watched):
    heartbeat = Heartbeat()
    _, ended = watched(heartbeat)
    with heartbeat.within("simulate"):
        for k in range(11):
            time.sleep(SECONDS / 2)
            heartbeat.beat(f"{k} ms")
        time.sleep(3 * SECONDS)
    assert not ended


def test_only_silence_within_a_phase_tells_of_the_pace():
    heartbeat = Heartbeat()
    time.sleep(0.3)
    with heartbeat.within("simulate"):
        heartbeat.beat("1 ms")
        assert heartbeat.longest_silence() < 0.3
        time.sleep(0.05)
        heartbeat.beat("2 ms")
        heartbeat.beat("3 ms")
    assert heartbeat.longest_silence() >= 0.05
    assert heartbeat.longest_silence() == 0


def test_phases_lie_in_one_another():
    heartbeat = Heartbeat()
    with heartbeat.within("simulate"):
        heartbeat.beat("1 ms")
        with heartbeat.within("record"):
            assert (heartbeat.phase, heartbeat.at) == ("record", "1 ms")
        assert (heartbeat.phase, heartbeat.at) == ("simulate", "1 ms")
    assert (heartbeat.phase, heartbeat.at) == ("", "")


@pytest.mark.parametrize(
    ("standings", "first", "more"),
    [
        # What waits for others is inside JAX, though it came there first.
        (
            {0: Standing(phase="checkpoint", at="", quiet=9.0, inside=True), 1: Standing(phase="record", at="3 ms", quiet=8.0)},
            "process 1 is in record, at 3 ms, for 8 s", "waiting for it in checkpoint: process 0",
        ),
        # Both in Python: what came to a standstill first.
        (
            {0: Standing(phase="connect", at="", quiet=6.0), 1: Standing(phase="", at="", quiet=9.0)},
            "process 1 is in the script itself for 9 s", "waiting for it in connect: process 0",
        ),
        # One is done, and waits where all end together.
        (
            {0: Standing(phase="results", at="", quiet=9.0), 1: Standing(phase="", at="its end", quiet=8.0)},
            "process 0 is in results for 9 s", "waiting for it in the script itself, at its end: process 1",
        ),
        # All inside one compiled chunk: nobody can tell.
        (
            {p: Standing(phase="simulate", at="3 ms", quiet=9.0, inside=True) for p in range(3)},
            "process 0 is in simulate, at 3 ms, for 9 s", "as well as process 1, 2",
        ),
    ],
)  # fmt: skip
def test_the_process_that_the_others_wait_for_is_named(standings, first, more, tmp_path):
    lines = told(standings, len(standings), tmp_path).split("\n  ")
    assert lines[:2] == [f"no progress: {first}", more]


def test_a_process_that_does_not_answer_is_named(tmp_path):
    said = told({0: Standing(phase="simulate", at="3 ms", quiet=9.0, inside=True)}, 2, tmp_path)
    assert said.startswith("no progress: process 1 does not answer\n  waiting for it in simulate: process 0\n")
