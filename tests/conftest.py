"""What every test shares: eight virtual CPU devices, compiled programs kept between runs, and how tests share the cores."""

from __future__ import annotations

import fcntl
import gc
import hashlib
import os
import platform
import stat
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

# Before anything touches JAX: the laws speak of devices, and eight virtual ones stand for eight real ones.
# JAX_PLATFORMS=cuda (or tpu) in the environment runs the tests there; set here it also reaches subprocesses.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest
from jax._src import lru_cache
from reference.parity_page import page

import dist_sim as ds
from dist_sim.core.transform import forget_programs

jax.config.update("jax_num_cpu_devices", 8)

CACHE_BYTES = 2 << 30
MAX_WORKERS = 4  # a worker takes up to 3 GiB of memory

# ---- compiled programs: most of the time of the tests is compilation ----


def cache_folder() -> Path:
    """Where compiled programs are kept: a folder for all that machine code depends on and the key of JAX leaves out."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    try:
        about = Path("/proc/cpuinfo").read_text()
        cpu = sorted({line for line in about.splitlines() if line.startswith(("flags", "Features", "model name"))})
    except OSError:
        cpu = [platform.processor()]
    parts = [version("jax"), version("jaxlib"), sys.version, platform.platform(), *cpu]
    return home / "dist_sim-tests" / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def prune(folder: Path, limit: int) -> None:
    """Removes the files that were written first until those left take no more than `limit` bytes."""
    found = []
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # another run of the tests may write and remove here
            if stat.S_ISREG((status := path.stat()).st_mode):
                found.append((status.st_mtime, status.st_size, path))
    excess = sum(size for _, size, _ in found) - limit
    for _, size, path in sorted(found):
        if excess <= 0:
            return
        path.unlink(missing_ok=True)
        excess -= size


def put(self, key: str, value: bytes) -> None:
    """As `LRUCache.put` without a limit, but the other workers never read half a file."""
    path = self.path / f"{key}-cache"
    if not path.exists():
        part = path.with_name(f"{key}.{os.getpid()}")
        part.write_bytes(value)
        part.replace(path)


# In the environment, so that it reaches the workers and subprocesses. A JAX_COMPILATION_CACHE_DIR of one's own is used as it is.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    try:
        (kept := cache_folder()).mkdir(parents=True, exist_ok=True)
        prune(kept.parent, CACHE_BYTES)
    except OSError as error:
        print(f"compiled programs are not kept: {error}", file=sys.stderr)
    else:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(kept)
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
        # JAX has read the environment already.
        jax.config.update("jax_compilation_cache_dir", str(kept))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
if jax.config.jax_compilation_cache_max_size == -1:
    lru_cache.LRUCache.put = put

# ---- what is compared with ----

REFERENCES = ("brainstate", "brainpy", "braintools", "brainpy-state", "nest-simulator")


def pytest_report_header() -> str:
    found = []
    for name in REFERENCES:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return f"compared with: {', '.join(found) or 'nothing, as no reference is installed'}"


# ---- the page of parity ----


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--parity-page", type=Path, help="write what the comparisons with NEST found to this Markdown file")


@pytest.fixture
def parity(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """`parity(table, row)`: a row of a table of the page; all comparisons of a test are made before it."""
    return lambda table, row: record_property(f"parity: {table}", row)


class ParityPage:
    """Collects the rows, those of the workers too, and writes the page."""

    def __init__(self, file: Path) -> None:
        self.file = file.resolve()
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid.rpartition("/")[2])
        elif report.when == "call":
            for name, row in report.user_properties:
                if name.startswith("parity: "):
                    self.rows.setdefault(name.removeprefix("parity: "), []).append(row)

    def pytest_sessionfinish(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(page(self.rows, self.failed))


# ---- how tests share the cores ----


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """`-n auto`: a worker for each core where folders are asked for; none for a few files, with -s, and for the slow suites."""
    named = [Path(argument.split("::")[0]) for argument in config.args]
    few = len(named) < 4 and all(path.is_file() for path in named)
    slow = "slow" in config.option.markexpr.replace("not slow", "")
    cores = len(os.sched_getaffinity(0))
    return 0 if few or slow or config.option.capture == "no" or cores < 2 else min(cores, MAX_WORKERS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in the order in which the workers take them: first what runs alone, then by size, so that all end together."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    size = Counter(item.path for item in items)
    alone = {item.path for item in items if item.get_closest_marker("alone")}
    items.sort(key=lambda item: (item.path not in alone, -size[item.path], item.path))


def pytest_configure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.option.testrunuid = config.option.testrunuid or uuid4().hex
        if config.option.parity_page:
            config.pluginmanager.register(ParityPage(config.option.parity_page))


def locks(run: str) -> tuple[Path, Path]:
    """The door and the room of one run of pytest."""
    return Path(tempfile.gettempdir(), f"dist_sim-tests-{run}.door"), Path(tempfile.gettempdir(), f"dist_sim-tests-{run}.room")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item):
    """A test marked `alone` has the machine for itself; all others run beside each other."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    door, room = locks(os.environ["PYTEST_XDIST_TESTRUNUID"])
    # Who waits for the room stands in the door, so that those who come later wait behind it.
    with door.open("w") as at_the_door, room.open("w") as inside:
        fcntl.flock(at_the_door, fcntl.LOCK_EX)
        fcntl.flock(inside, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        fcntl.flock(at_the_door, fcntl.LOCK_UN)
        return (yield)


def pytest_unconfigure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        for path in locks(config.option.testrunuid):
            path.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout that these tests belong to."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module", autouse=True)
def as_in_a_fresh_process() -> Iterator[None]:
    """What a file draws without a seed of its own does not depend on the files before it on the same worker. And their programs
    are not kept: with those of all files a worker has millions of objects, and collecting garbage takes seconds each time."""
    ds.random.seed(0)
    yield
    forget_programs()
    jax.clear_caches()
    gc.unfreeze()
    gc.collect()
    gc.freeze()  # what is left is not looked at again while the next file runs
