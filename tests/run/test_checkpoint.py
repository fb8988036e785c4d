"""A run that was stopped and goes on is the unbroken run, on any devices, from the newest checkpoint that is sound."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from typing import Any

import brainunit as u
import numpy as np
import pytest

from dist_sim.errors import NumericalError, OutputError, ParameterError
from dist_sim.run import checkpoint_files
from dist_sim.run.checkpoint import CheckpointPolicy, Checkpoints, best_interval, seconds_of
from dist_sim.run.directory import RunDirectory
from dist_sim.run.session import Session
from dist_sim.run.stop import Stopped

from .checkpointed import TOTAL, StopAt, copied, go, sim_recorder, small, told

DEVICES = (1, 2, 3, 4, 8)


@pytest.fixture(scope="module")
def unbroken():
    """What the run says that nothing ever stopped."""
    wanted = told(small(devices=1).simulate(TOTAL * u.ms))
    assert wanted["spikes"] > 100 and wanted["in_flight_events"] > 10
    return wanted


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The directory of a run on 2 devices that was stopped after 5 of 11 chunks."""
    path = tmp_path_factory.mktemp("stopped") / "run"
    assert go(RunDirectory(path), chunks=5, devices=2) is None
    return path


def resumed_everywhere(tmp_path, unbroken, before, after, **options):
    for old in before:
        source = tmp_path / f"from-{old}"
        assert go(RunDirectory(source), chunks=4 + old // 2, devices=old, **options) is None
        for new in after(old):
            result = go(copied(source, tmp_path / f"{old}-to-{new}"), devices=new, placement="round_robin", **options)
            assert told(result) == unbroken, f"{old} to {new} devices"


@pytest.mark.parametrize(("old", "new", "exchange"), [(1, 8, "ids"), (3, 1, "mask"), (4, 3, "mask")])
def test_resume_is_the_unbroken_run(tmp_path, unbroken, old, new, exchange):
    resumed_everywhere(tmp_path, unbroken, (old,), lambda _: (new,), exchange=exchange)


@pytest.mark.slow
@pytest.mark.parametrize("exchange", ["mask", "ids"])
def test_resume_on_any_devices(tmp_path, unbroken, exchange):
    resumed_everywhere(tmp_path, unbroken, DEVICES, lambda _: DEVICES, exchange=exchange)


def test_stopped_again_and_again(tmp_path, unbroken, stopped):
    path = tmp_path / "run"
    shutil.copytree(stopped, path)
    for devices in (1, 2):
        assert go(RunDirectory.resume(path), chunks=2, devices=devices) is None
    assert told(go(RunDirectory.resume(path), devices=1)) == unbroken


def test_a_script_that_goes_on_call_by_call(tmp_path):
    """Calls that had ended before the checkpoint are not simulated again, and give what they gave."""

    def calls(directory, chunks, devices):
        found = []
        session: Any = Session(directory=directory, checkpoints=CheckpointPolicy(every=0.0, keep_last=1), stop=StopAt(chunks))  # pyright: ignore
        with session.active():
            sim = small(devices=devices)
            try:
                for call, milliseconds in ((sim.simulate, 9.0), (sim.cont, 11.1), (sim.cont, 6.0), (sim.simulate, 12.0)):
                    result = call(milliseconds * u.ms)
                    times, _ = result.events(sim_recorder(sim))
                    found.append(told(result) | {"events": len(times)})
            except Stopped:
                return None
            finally:
                directory.close()
        return found

    wanted = calls(RunDirectory(tmp_path / "whole"), 10**9, 1)
    assert wanted is not None and wanted[0]["spikes"] < wanted[1]["spikes"] < wanted[2]["spikes"]
    # 3, 4, 2 and 4 chunks: stopped within the third and the fourth call.
    path = tmp_path / "run"
    assert calls(RunDirectory(path), 8, 1) is None
    shown = []
    for chunks in (4, 10**9):
        found = calls(RunDirectory.resume(path), chunks, 2)
        shown.append(len(list((path / "checkpoints").iterdir())))
    assert found == wanted and shown == [2, 2]


def test_the_newest_sound_checkpoint_counts(tmp_path, unbroken, stopped, capsys):
    """A flipped bit in the newest one, a file less in the one before: both are put aside, the third one is taken."""
    directory = copied(stopped, tmp_path / "run")
    folder = directory.path / "checkpoints" / "spikes"
    assert go(directory, devices=1, chunks=2) is None
    directory = RunDirectory.resume(directory.path)
    *_, third, second, newest = sorted(folder.iterdir())
    data = max((newest / "state").rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else 0)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 4
    data.write_bytes(content)
    (second / "commit.json").unlink()
    assert told(go(directory, devices=1)) == unbroken
    printed = capsys.readouterr().err
    assert printed.count("is damaged and put aside") == 2 and f"resumed at {int(third.name) * 0.1:g} ms" in printed
    assert {f"{newest.name}.damaged", f"{second.name}.damaged"} <= {p.name for p in folder.iterdir()}
    assert "is damaged" in (directory.path / "log.txt").read_text()


def test_every_damage_is_noticed(tmp_path, stopped):
    """60 flipped bits, 20 truncations, every single file deleted: none is restored."""
    folder = stopped / "checkpoints" / "spikes"
    newest = sorted(folder.iterdir())[-1]
    sound = checkpoint_files.read_arrays(newest, checkpoint_files.read_manifest(newest))
    assert sound["projection.spike_ids"].size
    draw = random.Random(1)
    names = [p.relative_to(newest) for p in sorted(newest.rglob("*")) if p.is_file()]
    weights = [(newest / name).stat().st_size for name in names]

    def flip(path):
        content = bytearray(path.read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)

    def cut(path):
        path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size)])

    damages = [(flip, name) for name in (*names, *draw.choices(names, weights, k=60))]
    damages += [(cut, name) for name in draw.choices(names, weights, k=20)]
    damages += [(lambda path: path.unlink(), name) for name in names]
    for damage, name in damages:
        copy = tmp_path / newest.name
        shutil.copytree(newest, copy)
        if (copy / name).stat().st_size:
            damage(copy / name)
            kept = Checkpoints(tmp_path, CheckpointPolicy(), {}, 0.1, lambda _: None)
            assert kept.newest(10**9, allow_changed=True) is None, f"{damage} of {name} went unnoticed"
        for left in tmp_path.iterdir():
            shutil.rmtree(left)


@pytest.mark.parametrize(
    ("options", "named"),
    [(dict(seed=6), "seed: 5 then, 6 now"), (dict(precision=64), "precision: 32 bits then, 64 bits now"),
     (dict(drive=1300.0), "create poisson_generator_0")],
)  # fmt: skip
def test_another_run_is_refused(tmp_path, stopped, options, named):
    directory = copied(stopped, tmp_path / "run")
    with pytest.raises(ParameterError, match=named):
        go(directory, devices=1, **options)
    assert (
        go(RunDirectory.resume(directory.path), devices=1, chunks=2, allow_changed=True, **(options | dict(precision=32))) is None
    )
    if "precision" not in options:
        assert "with changes: " + named.split(":")[0] in (directory.path / "log.txt").read_text()


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    arrays = {"a": np.arange(1000), "none": np.zeros((0, 3), np.float32)}
    folder = tmp_path / "kept"
    checkpoint_files.write_checkpoint(folder, 10, arrays, {"identity": {}})
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_files.shutil, "disk_usage", lambda _: usage._replace(free=5000))
        with pytest.raises(OutputError, match=r"\d+ bytes are missing"):
            checkpoint_files.write_checkpoint(folder, 20, arrays, {"identity": {}})

    def full(*_):
        raise OSError(28, "No space left on device")

    for name in ("write_atomically", "_file_checksum"):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint_files, name, full)
            with pytest.raises(OutputError, match="could not be written.*No space left"):
                checkpoint_files.write_checkpoint(folder, 20, arrays, {"identity": {}})
    assert [p.name for p in folder.iterdir()] == ["000000000010"]
    restored = checkpoint_files.read_arrays(folder / "000000000010", checkpoint_files.read_manifest(folder / "000000000010"))
    assert all(np.array_equal(restored[name], a) and restored[name].dtype == a.dtype for name, a in arrays.items())


def test_a_failed_save_ends_the_run(tmp_path, monkeypatch):
    def refuse(*_):
        raise OutputError("full")

    monkeypatch.setattr("dist_sim.run.checkpoint.write_checkpoint", refuse)
    with pytest.raises(OutputError, match="full"):
        go(RunDirectory(tmp_path / "run"), devices=1)


def test_what_is_kept(tmp_path):
    def kept(**policy):
        folder = tmp_path / "-".join(map(str, policy.values()))
        checkpoints = Checkpoints(folder, CheckpointPolicy(every=0.0, **policy), {}, 1.0, lambda _: None)
        for step in range(10, 70, 10):
            checkpoints.save(step, lambda: ({"a": np.arange(3)}, {}))
        checkpoints.wait()
        return checkpoint_files.checkpoint_steps(folder)

    assert kept(keep_last=2) == [50, 60]
    assert kept(keep_last=1, keep_every=25.0) == [10, 30, 50, 60]


def test_intervals():
    assert [seconds_of(t, "") for t in ("90", "30s", "15min", "1.5h", "never")] == [90.0, 30.0, 900.0, 5400.0, float("inf")]
    for text in ("", "min", "-3s", "3 weeks", "nan"):
        with pytest.raises(ParameterError, match="must be a time"):
            seconds_of(text, "--checkpoint-every")
    assert best_interval(2.0, 86400.0) == pytest.approx(587.9, abs=0.1)
    assert best_interval(1e-3, 3600.0) == 60.0


@pytest.mark.parametrize(("state", "value"), [("V_m", np.nan), ("I_syn_ex", np.inf)])
def test_what_is_not_finite_is_found_within_a_chunk(state, value):
    sim = small(devices=3, placement="round_robin")
    sim.simulate(5 * u.ms)
    network = sim._simulation.network
    cells = network.populations[0]
    place = cells.text.states.index(state), network.layout.positions(0)[17]
    cells.variables.value = cells.variables.value.at[place].set(value)
    with pytest.raises(NumericalError, match=rf"exp: neuron 17: .*{state}\S* became .* between 5 and 8.7 ms"):
        sim.cont(20 * u.ms)


def test_a_run_says_how_to_go_on(stopped):
    manifest = json.loads(next((stopped / "checkpoints" / "spikes").glob("*/manifest.json")).read_text())
    assert {"identity", "versions", "digest", "arrays", "files", "step", "wall_s"} <= set(manifest)
    assert set(itertools.chain(manifest["identity"])) >= {"dt", "seed", "precision", "create exp"}


def test_spikes_that_were_cut_off_are_computed_again(tmp_path, unbroken, capsys):
    """From the newest checkpoint that they reach to; from the beginning where none is left."""
    for number, keep in enumerate((0.6, 0.1, 0.0)):
        source = tmp_path / f"run-{number}"
        assert go(RunDirectory(source), chunks=6, devices=2) is None
        (segment,) = (source / "spikes").glob("seg-*.bin")
        if keep:
            content = segment.read_bytes()
            segment.write_bytes(content[: int(keep * len(content))])
        else:
            segment.unlink()
        capsys.readouterr()
        assert told(go(RunDirectory.resume(source), devices=1)) == unbroken
        said = capsys.readouterr().err
        assert "an older checkpoint is needed" in said and ("there is no checkpoint" in said) == (keep == 0.0)
