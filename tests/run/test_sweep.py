"""A sweep: points, names, results, errors, and going on after a stop."""

import json
import subprocess
import sys

import brainunit as u
import numpy as np
import pytest
from run.checkpointed import StopAt, copied, small

import dist_sim as ds
from dist_sim.errors import DistSimError, ParameterError, UnitError
from dist_sim.run import sweep as module
from dist_sim.run.checkpoint import CheckpointPolicy
from dist_sim.run.directory import RunDirectory
from dist_sim.run.session import Session
from dist_sim.run.stop import Stopped


def nothing(**point):
    return {}


def test_a_grid_is_all_combinations_and_the_last_name_changes_fastest():
    table = ds.sweep(lambda weight, seed: {"double": 2 * weight, "odd": seed % 2}, {"weight": [3, 1] * u.pA, "seed": range(3)})
    assert isinstance(table, list) and [row["seed"] for row in table] == [0, 1, 2] * 2
    assert table[4] == {"weight": 1 * u.pA, "seed": 1, "double": 2 * u.pA, "odd": 1}


def test_a_list_is_taken_as_it_is_and_one_result_is_called_so():
    table = ds.sweep(lambda a, b: a + b, [{"a": 1, "b": 2}, {"b": 30, "a": 10}])
    assert table == [{"a": 1, "b": 2, "result": 3}, {"b": 30, "a": 10, "result": 40}]


def test_numbers_of_arrays_are_those_of_python():
    seen = []
    ds.sweep(lambda **point: seen.append(point), {"seed": np.arange(2), "x": np.linspace(0, 1, 2)})
    assert seen[1] == {"seed": 0, "x": 1.0} and type(seen[1]["seed"]) is int and type(seen[1]["x"]) is float


def test_columns_are_arrays_with_units_in_their_names():
    results = {
        1: {"rate": 2000 * u.Hz, "spikes": [1, 2]},
        2: {"rate": 3 * u.kHz, "spikes": [1]},
        3: {"rate": 1 * u.Hz, "cv": 0.5},
    }
    columns = ds.sweep(lambda seed: results[seed], {"seed": [1, 2, 3]}).columns()
    assert columns["seed"].tolist() == [1, 2, 3] and columns["rate [Hz]"].tolist() == [2000, 3000, 1]
    assert columns["spikes"].tolist() == [[1, 2], [1], None] and np.isnan(columns["cv"][:2]).all() and columns["cv"][2] == 0.5
    with pytest.raises(UnitError, match="rate"):
        ds.sweep(lambda unit: {"rate": 1 * unit}, {"unit": [u.Hz, u.mV]}).columns()


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ({}, "there are no points"),
        ({"a": []}, "there are no points"),
        ([], "there are no points"),
        ({"a": 3}, r"sweep\(a=3\): must be a list of values"),
        ({"a": "abc"}, "must be a list of values"),
        ({"a": 3 * u.pA}, r"is one value. Give a list: \[3"),
        ("a", "must be a dict of names"),
        ([{"a": 1}, {"b": 1}], "point 2 has b; the first has a"),
    ],
)
def test_what_are_no_points_is_refused(points, message):
    with pytest.raises(ParameterError, match=message):
        ds.sweep(nothing, points)


def test_a_result_named_like_a_parameter_is_refused():
    with pytest.raises(ParameterError, match="the result a is named like a parameter"):
        ds.sweep(lambda a: {"a": 2}, {"a": [1]})


def test_an_error_names_its_point():
    with pytest.raises(ZeroDivisionError) as caught:
        ds.sweep(lambda weight, n: 1 / n, {"weight": [0.5 * u.pA], "n": [2, 1, 0]})
    assert caught.value.__notes__ == ["sweep: at point 3 of 3: weight=0.5pA,n=0"]


def test_it_tells_how_far_it_is(monkeypatch, capsys):
    monkeypatch.setattr(module, "_FIRST_S", 0.0)
    ds.sweep(nothing, {"a": range(3)})
    assert capsys.readouterr().err.startswith("dist-sim: sweep: 1 of 3 points, 0 s, about 0 s to go\n")
    ds.sweep(nothing, {"a": range(3)}, show=False)
    assert capsys.readouterr().err == ""


SCRIPT = """
import brainunit as u
import dist_sim as ds

def point(slope, seed):
    sim = ds.Simulator(seed=seed)
    cells = sim.create(ds.iaf_psc_exp, 20, I_e=900 * u.pA, name="cells")
    sim.connect(cells, sim.create(ds.spike_recorder))
    if seed == 9:
        sim.connect(cells, cells, weight=slope)
    again = ds.Simulator(seed=seed, name="again")
    again.create(ds.iaf_psc_exp, 20, I_e=900 * u.pA)
    again.simulate(5 * u.ms)
    return {"rate": sim.simulate(20 * u.ms).summary["rates"]["cells"]}

print(ds.sweep(point, {"slope": [1.5, 2] * (u.Hz / u.mV), "seed": [1, ds.param("last", 2)]}).columns())
"""


def command(*args, **options):
    return subprocess.run([sys.executable, "-m", "dist_sim", *args], capture_output=True, text=True, **options)


def test_under_the_command_each_point_is_a_run_named_by_it(tmp_path):
    (tmp_path / "scan.py").write_text(SCRIPT)
    done = command("run", "scan.py", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    points = [f"slope={slope}Hz_mV,seed={seed}" for slope in ("1.5", "2") for seed in (1, 2)]
    found = {path.parent.name for path in (tmp_path / "run" / "results").glob("*/summary.json")}
    assert found == {*points, *(f"again-{point}" for point in points)}
    for name in found:
        assert json.loads((tmp_path / "run" / "results" / name / "summary.json").read_text())["name"] == name


def test_under_the_command_an_error_names_its_point(tmp_path):
    (tmp_path / "scan.py").write_text(SCRIPT)
    done = command("run", "scan.py", "--out", "run", "--set", "last=9", cwd=tmp_path)
    assert done.returncode == 64 and "UnitError" in done.stderr
    assert "dist-sim: sweep: at point 2 of 4: slope=1.5Hz_mV,seed=9" in done.stderr


def test_a_stopped_sweep_goes_on_to_the_same_table(tmp_path):
    """Stopped in each of its three points, which take 11 chunks each."""

    def scan():
        def point(drive):
            result = small(drive=drive).simulate(40 * u.ms)
            return {"digest": result.digest, "spikes": result.summary["spikes"]}

        return ds.sweep(point, {"drive": [900.0, 1200.0, 1500.0]})

    wanted = scan()
    assert len({row["digest"] for row in wanted}) == 3
    for chunks in (4, 15, 30):
        directory = RunDirectory(tmp_path / f"stopped-{chunks}")
        policy = CheckpointPolicy(every=0.0)
        session = Session(directory=directory, checkpoints=policy, stop=StopAt(chunks))  # pyright: ignore[reportArgumentType]
        with session.active(), pytest.raises(Stopped):
            scan()
        directory.close()
        assert len(session.outcomes) == 1 + chunks // 11
        directory = copied(tmp_path / f"stopped-{chunks}", tmp_path / f"resumed-{chunks}")
        session = Session(directory=directory, checkpoints=policy)
        with session.active():
            assert scan() == wanted
        directory.close()
        assert list(session.outcomes) == ["drive=900", "drive=1200", "drive=1500"]


def test_a_point_that_stops_is_no_error_of_it():
    def stops(a):
        raise Stopped("test")

    with pytest.raises(Stopped) as caught:
        ds.sweep(stops, {"a": [1]})
    assert not hasattr(caught.value, "__notes__") and not issubclass(Stopped, DistSimError)
