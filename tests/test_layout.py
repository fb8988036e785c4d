"""The three links resolve, and sdist and wheel hold what they lead to as real files."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

LINKED = ["partition", "kernels", "cluster"]
SHIPPED = {".py", ".cpp", ".h", ".cu", ".cuh", ".typed"}


@pytest.mark.parametrize("folder", LINKED)
def test_link_resolves(checkout, folder):
    link = checkout / "dist_sim" / folder
    remedy = (
        f"dist_sim/{folder} must be a relative symbolic link to ../{folder}. This checkout lost it (core.symlinks=false, or a "
        "copy without links). Run `git config core.symlinks true && git checkout -- dist_sim`, or copy with `cp -a`."
    )
    assert link.is_symlink(), remedy
    assert not link.readlink().is_absolute(), remedy
    assert link.resolve() == checkout / folder, remedy
    assert (link / "__init__.py").is_file(), remedy


@pytest.fixture(scope="module")
def distributions(checkout, tmp_path_factory):
    """File names inside the sdist, and inside the wheel that is built from it."""
    # In a copy: a build folder of the checkout would get into the wheel, and this build into the checkout.
    tree = tmp_path_factory.mktemp("tree") / "dist_sim"
    left_out = shutil.ignore_patterns("__pycache__", ".*", "build", "dist", "*.egg-info", "tests")
    shutil.copytree(checkout, tree, symlinks=True, ignore=left_out)
    # In this environment: a cluster's node may have no network to fetch another setuptools from.
    built = subprocess.run([sys.executable, "-m", "build", "--no-isolation", str(tree)], capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (sdist,) = (tree / "dist").glob("*.tar.gz")
    (wheel,) = (tree / "dist").glob("*.whl")
    with tarfile.open(sdist) as archive:
        in_sdist = {member.name.split("/", 1)[1] for member in archive if member.isfile()}
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    return {"sdist": in_sdist, "wheel": in_wheel}


@pytest.mark.parametrize("kind", ["sdist", "wheel"])
def test_distribution_holds_every_file(checkout, distributions, kind):
    wanted = {
        (Path(folder) / name).relative_to(checkout).as_posix()
        for folder, _, names in os.walk(checkout / "dist_sim", followlinks=True)
        for name in names
        if Path(name).suffix in SHIPPED
    }
    assert any(name.startswith("dist_sim/kernels/cpp/") and name.endswith(".cpp") for name in wanted)
    assert not wanted - distributions[kind]


def test_wheel_installs_one_package_only(distributions):
    installed = {name.split("/", 1)[0] for name in distributions["wheel"]}
    assert {name for name in installed if not name.endswith(".dist-info")} == {"dist_sim"}
