"""Imports go down the floors only, and importing does nothing."""

import os
import shutil
import subprocess
import sys

import pytest

# Runs in a fresh process: what the package stands on is imported first, so that what is seen afterwards is ours.
IMPORTING = """
import importlib, os, pkgutil, sys
import brainevent, brainunit, h5py, jax, numpy, orbax.checkpoint, rich.progress, typer, xxhash
try:
    import matplotlib.pyplot
except ImportError:
    pass

CODE = (".py", ".pyc", ".so")
REACHING_OUT = {
    "os.exec", "os.fork", "os.mkdir", "os.posix_spawn", "os.system", "socket.bind", "socket.connect", "subprocess.Popen"
}
seen = []

def watch(event, args):
    if event == "open":
        path, mode, flags = args
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes or not str(path).endswith(CODE):
            seen.append((event, str(path), mode))
    elif event in REACHING_OUT:
        seen.append((event, *map(str, args)))

sys.addaudithook(watch)
import dist_sim
for module in pkgutil.walk_packages(dist_sim.__path__, "dist_sim."):
    importlib.import_module(module.name)

from jax._src import xla_bridge
assert not xla_bridge.backends_are_initialized(), "importing asked for devices"
assert not any(name.split(".")[0] == "mpi4py" for name in sys.modules), "importing started MPI"
assert not seen, f"importing touched {seen}"
print(len([name for name in sys.modules if name.startswith("dist_sim")]))
"""


LINTING = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"


def lint(tree):
    """The contracts of pyproject.toml, checked on a tree; `lint-imports` prints the same report."""
    return subprocess.run([sys.executable, "-c", LINTING], cwd=tree, capture_output=True, text=True)


def test_imports_go_down_the_floors(checkout):
    done = lint(checkout)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("kernels/__init__.py", "import dist_sim.partition"),
        ("partition/__init__.py", "import dist_sim.core"),
        ("dist_sim/network/__init__.py", "import dist_sim.run"),
        ("cluster/__init__.py", "import dist_sim.units"),
        ("dist_sim/core/__init__.py", "import dist_sim.cluster"),
    ],
)
def test_an_import_up_the_floors_is_seen(checkout, tmp_path, file, line):
    for name in ("dist_sim", "partition", "kernels", "cluster"):
        shutil.copytree(checkout / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(checkout / "pyproject.toml", tmp_path)
    with (tmp_path / file).open("a") as source:
        source.write(f"\n{line}\n")
    done = lint(tmp_path)
    assert done.returncode == 1 and "BROKEN" in done.stdout, done.stdout + done.stderr


def test_importing_does_nothing(checkout):
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", IMPORTING], cwd=checkout, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) > 10
