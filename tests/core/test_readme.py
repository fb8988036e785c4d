"""The core's README holds: its program runs, its files exist, and every promise is shown by a test that exists."""

import re

import pytest

PROMISES = 55


@pytest.fixture(scope="module")
def readme(checkout):
    return (checkout / "dist_sim" / "core" / "README.md").read_text()


def test_every_promise_is_shown_by_tests_that_exist(readme, checkout):
    rows = re.findall(r"^\| (\d+) \|(.*)\|(.*)\|(.*)\|$", readme, re.MULTILINE)
    assert [int(number) for number, *_ in rows] == list(range(1, PROMISES + 1))
    for number, _, _, shown in rows:
        tests = re.findall(r"`(test_\w+\.py)::(test_\w+)`", shown)
        assert tests, number
        for file, name in tests:
            assert f"\ndef {name}(" in (checkout / "tests" / "core" / file).read_text(), (number, file, name)


def test_the_files_it_names_exist(readme, checkout):
    table = readme.split("## How to read it")[1].split("## What")[0]
    folder = checkout / "dist_sim" / "core"
    for name in re.findall(r"`([\w/]+(?:\.py|/))`", table):
        assert (folder / name).exists() or (folder / "transform" / name).exists(), name


def test_its_program_runs(readme, capsys):
    (program,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    names = {}
    exec(program, names)
    cell, trace = names["cell"], names["trace"]
    assert trace.shape == (1000, 4000) and len(cell.V.value.mantissa.sharding.device_set) == 8
    assert list(names["gradient"]) == [("tau",)]
    assert "V: HiddenState float32[4000] mV" in capsys.readouterr().out
