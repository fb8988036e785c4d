"""`dist-sim export`: the spikes that are on the disk, whatever became of the run."""

from __future__ import annotations

import shutil
from pathlib import Path

import libsonata
import pytest

from dist_sim.__main__ import main

SCRIPT = """
import brainunit as u
import dist_sim as ds
sim = ds.Simulator(dt=0.1 * u.ms, seed=1, chunk=20 * u.ms)
currents = {"whole": 500, "part": 600, "none": 700}
whole, part, none = (sim.create(ds.iaf_psc_exp, 20, params=dict(I_e=currents[n] * u.pA), name=n) for n in currents)
recorder = sim.create(ds.spike_recorder)
sim.connect(whole, recorder)
sim.connect(part[3:7], recorder)
sim.simulate(100 * u.ms)
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The directory of a run of 100 ms in five chunks, which records one population and a part of another."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "script.py").write_text(SCRIPT)
    assert main(["run", str(folder / "script.py"), "--out", str(folder / "out")]) == 0
    return folder / "out"


def spikes(path: Path) -> dict[str, list[tuple[int, float]]]:
    reader = libsonata.SpikeReader(str(path))
    return {name: reader[name].get() for name in reader.get_population_names()}


def test_it_is_what_the_run_itself_has_written(done, tmp_path, capsys):
    wanted = spikes(done / "results" / "spikes.h5")
    assert set(wanted) == {"whole", "part"} and {node for node, _ in wanted["part"]} == {3, 4, 5, 6} and len(wanted["whole"]) > 20
    assert main(["export", str(done), "--file", str(tmp_path / "again.h5")]) == 0
    assert spikes(tmp_path / "again.h5") == wanted and "up to 100 ms" in capsys.readouterr().out


def test_a_killed_run_is_read_up_to_its_last_block(done, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(done, out)
    for name in ("summary.json", "results/spikes.h5"):
        (out / name).unlink()
    segment = out / "spikes" / "seg-00000-00000.bin"
    segment.write_bytes(segment.read_bytes()[:-5])
    assert main(["export", str(out)]) == 0
    printed = capsys.readouterr()
    assert "is torn" in printed.err and "up to 80 ms" in printed.out
    wanted = spikes(done / "results" / "spikes.h5")
    assert spikes(out / "results" / "spikes.h5") == {n: [s for s in all_ if s[1] < 80.05] for n, all_ in wanted.items()}


def test_nothing_to_export(done, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(done, out)
    (out / "spikes" / "seg-00000-00000.bin").write_bytes(b"")
    assert main(["export", str(out)]) == 74
    assert "no whole block" in capsys.readouterr().err
