"""CUDA kernels: nvcc builds them once, into the user's cache, for all cards that are known; XLA calls them by its FFI.

No contraction, IEEE division and roots: the bits of the C++ kernels. The twin is the same source under g++, called by XLA on
CPUs: what a kernel computes is tested where there is no GPU. brainevent's loader would read XLA's C++ headers once per card, and
knows no twin; these kernels read XLA's C header alone.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from dist_sim.errors import DeviceError
from dist_sim.kernels.cache import compiling

_TARGETS = "dist_sim.cuda"
_FOLDER = Path(__file__).resolve().parent / "cpp"
ARCHITECTURES = ("sm_80", "sm_90", "sm_100")


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """What makes a library of the kernels.

    Attributes:
        platform: the kernels are registered for it, as XLA names it.
        devices: as JAX names the platform of devices on which they run.
    """

    platform: str
    devices: tuple[str, ...]
    compiler: str
    flags: tuple[str, ...]


def nvcc(architectures: Sequence[str]) -> Toolchain:
    """nvcc for these cards, `sm_80` and so on; cards newer than all that are known take the text of the newest for themselves."""
    codes = []
    for architecture in architectures:
        number = architecture.removeprefix("sm_")
        code = f"[{architecture},compute_{number}]" if architecture == ARCHITECTURES[-1] else architecture
        codes += ["-gencode", f"arch=compute_{number},code={code}"]
    flags = (
        "-std=c++17", "-O3", "-fmad=false", "-prec-div=true", "-prec-sqrt=true", "-ftz=true", "-Xptxas", "-v", "-t", "0",
        "-cudart", "static", "-Xcompiler", "-fPIC", *codes,
    )  # fmt: skip
    return Toolchain(platform="CUDA", devices=("gpu", "cuda"), compiler="nvcc", flags=flags)


NVCC = nvcc(ARCHITECTURES)
TWIN = Toolchain(
    platform="cpu", devices=("cpu",), compiler="g++",
    flags=(
        "-x", "c++", "-std=c++17", "-O2", "-ffp-contract=off", "-fno-math-errno", "-Wno-psabi", "-fPIC",
        "-DDIST_SIM_ONE_LANE",
    ),
)  # fmt: skip
toolchain = NVCC


def able(jax_platform: str) -> bool:
    """Whether the kernels run on devices of a platform."""
    return jax_platform in toolchain.devices and shutil.which(toolchain.compiler) is not None


def call(
    kernel: str, results: Sequence[jax.ShapeDtypeStruct], *operands: jax.Array, in_place: dict[int, int] | None = None,
    source: str | None = "kernels", **attributes: Any,
) -> Any:  # fmt: skip
    """Calls a kernel inside a trace; arguments as of `backend.call`."""
    if source is not None:
        load(source)
    f: Callable[..., Any] = jax.ffi.ffi_call(f"{_TARGETS}.{kernel}", list(results), input_output_aliases=in_place or {})
    return tuple(f(*operands, **attributes))


def load(source: str) -> Path:
    """Builds and registers the kernels of a file of `cpp/`; gives the library."""
    return register((_FOLDER / f"{source}.cu").read_text())


def load_printed(wanted: Mapping[str, Any], source_of: Callable[[Any], str]) -> list[Path]:
    """Builds and registers printed kernels that are not loaded yet, each as a library of its own, side by side.

    Args:
        wanted: target -> what it is printed from, by `source_of`.
    """
    missing = [source_of(wanted[target]) for target in wanted if not loaded(target)]
    with compiling(), ThreadPoolExecutor(os.cpu_count()) as workers:
        list(workers.map(functools.partial(built, toolchain), missing))
    return [register(text) for text in missing]


_loaded: set[tuple[str, str]] = set()  # platform, target


def loaded(target: str) -> bool:
    """Whether a kernel is registered; a second time XLA refuses it."""
    return (toolchain.platform, target) in _loaded


def register(text: str) -> Path:
    """Builds the library of a source and registers its targets; gives the library."""
    return _registered(toolchain, text)


@functools.cache
def _registered(tools: Toolchain, text: str) -> Path:
    with compiling():
        library = built(tools, text)
    handlers = ctypes.CDLL(str(library))
    for name in targets_in(text):
        capsule = jax.ffi.pycapsule(getattr(handlers, name))
        jax.ffi.register_ffi_target(f"{_TARGETS}.{name}", capsule, platform=tools.platform)
        _loaded.add((tools.platform, name))
    return library


def targets_in(text: str) -> list[str]:
    """The FFI targets of a source."""
    return re.findall(r"^TARGET\((\w+),", text, re.MULTILINE)


@functools.cache
def built(tools: Toolchain, text: str) -> Path:
    """The library of a source, in the user's cache; beside it lies what the compiler said, as `.log`.

    Raises:
        DeviceError: there is no compiler, or it refuses.
    """
    compiler = shutil.which(tools.compiler)
    if compiler is None:
        raise DeviceError(
            f"{tools.compiler} was not found: CUDA kernels need it on PATH, from the CUDA toolkit or from nvidia-cuda-nvcc of "
            "PyPI. backend='reference' runs without."
        )
    headers = b"".join(file.read_bytes() for file in sorted(_FOLDER.glob("*.*h")))
    command = [compiler, *tools.flags, "-shared", "-I", str(_FOLDER), "-I", jax.ffi.include_dir()]
    key = hashlib.sha256(repr((tools, jax.__version__, _version(compiler), text)).encode() + headers).hexdigest()[:16]
    library = cache_folder() / f"{key}.so"
    if library.exists():
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    source, half = (library.with_suffix(f".{os.getpid()}.{end}") for end in ("cu", "so"))
    source.write_text(text)
    done = subprocess.run([*command, "-o", str(half), str(source)], capture_output=True, text=True)
    source.unlink()
    if done.returncode:
        errors = "\n".join(line for line in done.stderr.splitlines() if "error" in line)
        raise DeviceError(f"{tools.compiler} refuses CUDA kernels: {errors[:2000]}")
    library.with_suffix(".log").write_text(done.stdout + done.stderr)
    half.replace(library)
    return library


@functools.cache
def _version(compiler: str) -> str:
    return subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout


def cache_folder() -> Path:
    """Where libraries are kept."""
    root = os.environ.get("BRAINEVENT_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(root) / "dist_sim" / "cuda"


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """What ptxas says of one kernel: registers per thread and bytes of spilled registers."""

    kernel: str
    architecture: str
    registers: int
    spilled: int


def compiled_in(library: Path) -> list[Compiled]:
    """The kernels of a library that nvcc has built."""
    found = []
    for part in library.with_suffix(".log").read_text().split("Compiling entry function")[1:]:
        names = re.search(r"'(\w+)' for '(\w+)'", part)
        registers, spilled = re.search(r"Used (\d+) registers", part), re.search(r"(\d+) bytes spill stores", part)
        assert names and registers and spilled, part
        found.append(
            Compiled(kernel=names[1], architecture=names[2], registers=int(registers[1]), spilled=int(spilled[1]))
        )
    return found
