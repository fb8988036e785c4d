"""What the README says can be done, done as printed; and the examples, at a size that takes seconds."""

from __future__ import annotations

import ast
import dataclasses
import re
import runpy
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import nest_microcircuit
import numpy as np
import pytest

from dist_sim.run.directory import RunDirectory

EXAMPLES = {
    "microcircuit.py": ["scale=0.02", "t_sim=50", "t_presim=10"],
    "brunel.py": ["regime=all", "order=100", "t_sim=30", "t_presim=20"],
}
LINES = 150


def dist_sim_run(example: Path, out: Path, parameters: list[str], devices: int = 2) -> str:
    """Runs an example on the command line and returns what it printed."""
    options = [word for parameter in parameters for word in ("--set", parameter)]
    command = [sys.executable, "-m", "dist_sim", "run", str(example), "--devices", str(devices), "--out", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_of_the_readme_runs_and_prints_what_it_says(checkout, tmp_path):
    text = (checkout / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    script = tmp_path / "readme.py"
    script.write_text("\n".join(blocks))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=250, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    assert printed and [line for line in printed if f"prints `{line}`" not in text] == []


def test_the_files_that_the_readme_names_are_there(checkout):
    text = (checkout / "README.md").read_text()
    named = set(re.findall(r"(?:examples|tests|kernels|partition|cluster|dist_sim)/[\w/.]*", text)) | {"LICENSE"}
    assert len(named) > 10
    assert not [name for name in named if not (checkout / name).exists()]
    for picture in (checkout / "examples/figures").glob("*.png"):
        assert picture.stat().st_size < 300_000


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short_and_runs(checkout, tmp_path, name):
    example = checkout / "examples" / name
    assert len(example.read_text().splitlines()) < LINES
    printed = dist_sim_run(example, tmp_path / "run", EXAMPLES[name])
    summary = RunDirectory.open(tmp_path / "run").read_json("summary.json")
    assert summary is not None and summary["digest"] in printed
    assert summary["spikes"] > 0 and summary["devices"] == 2
    results = tmp_path / "run/results"
    pictures = {str(path.relative_to(results)) for path in results.rglob("*.png")}
    each = ("SR/", "SIfast/", "AI/", "SIslow/") if name == "brunel.py" else ("",)
    assert pictures == {f"{run}raster.png" for run in each} | ({"brunel_all.png"} if name == "brunel.py" else set())


def test_the_digest_of_an_example_does_not_depend_on_the_devices(checkout, tmp_path):
    digests = set()
    for devices, more in ((1, []), (3, ["placement=balanced", "exchange=ids"])):
        out = tmp_path / str(devices)
        dist_sim_run(checkout / "examples/microcircuit.py", out, [*EXAMPLES["microcircuit.py"], *more], devices)
        summary = RunDirectory.open(out).read_json("summary.json")
        assert summary is not None
        digests.add(summary["digest"])
    assert len(digests) == 1


@pytest.mark.parametrize("drive", ["poisson", "dc"])
@pytest.mark.parametrize("scale", [0.02, 0.1, 1.0])
def test_both_halves_of_the_benchmark_hold_one_circuit(checkout, scale, drive):
    """A typing mistake in one of the tables would make two circuits."""
    ours = runpy.run_path(str(checkout / "examples/microcircuit.py"))["scaled_circuit"](scale, drive)
    nest = nest_microcircuit.circuit(scale, scale, drive)
    for field in dataclasses.fields(nest):
        np.testing.assert_allclose(getattr(ours, field.name), getattr(nest, field.name), rtol=1e-14, atol=0, err_msg=field.name)
    if scale == 1:
        assert ours.sizes.sum() == 77_169 and ours.synapses.sum() == 298_880_968


def imported(file: Path, seen: set[Path]) -> set[str]:
    """Top-level modules that a script imports, also in functions and through its neighbours."""
    seen.add(file)
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
        for name in names:
            top = name.split(".")[0]
            near = [folder / f"{top}.py" for folder in (file.parent, file.parent.parent)]
            local = next((path for path in near if path.exists()), None)
            if local is None:
                found.add(top)
            elif local not in seen:
                found |= imported(local, seen)
    return found - sys.stdlib_module_names - {"dist_sim"}


def test_one_install_brings_what_the_benchmarks_import(checkout):
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    extra = project["optional-dependencies"]["benchmark"]
    brought = {re.split(r"[^\w.-]", line)[0].lower() for line in (*project["dependencies"], *extra)}
    scripts = sorted((checkout / "examples/benchmarks").glob("*.py"))
    needed = {name: script.name for script in scripts for name in imported(script, set())}
    assert {"brainpy", "nest", "optax"} <= needed.keys()
    homes = packages_distributions()
    for name, script in needed.items():
        assert name in homes, f"{script} imports {name}, which is not installed"
        assert brought & {home.lower() for home in homes[name]}, f"{script} imports {name}, which the extra leaves out"
    # Not imported by a script: the products of brainpy.state, and the launches by mpirun.
    assert {"numba", "mpi4py", "mpich"} <= brought
    assert "pip install '.[benchmark]'" in (checkout / "README.md").read_text()
