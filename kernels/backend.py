"""Which implementation of the kernels runs: `reference` (pure JAX, the meaning of all others), `native` (C++, on CPUs) or `cuda`.

The C++ sources are compiled once, on first use, by brainevent's `load_cpp_file`, and kept in its cache.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from dist_sim.kernels.cache import compiling  # first: brainevent needs a folder when it is imported

# isort: split
import jax
from brainevent import load_cpp_file, load_cpp_inline
from brainevent._error import CompilationError

from dist_sim.errors import DeviceError, UnknownNameError
from dist_sim.kernels import cuda as cuda_kernels

BACKENDS = ("reference", "native", "cuda")
_TARGETS = "dist_sim"
BLOCK = 128  # neurons of a device are padded to a multiple of this, so that vector loops have no remainder


class Kernel:
    """An operation with one meaning on every backend: `kernel(step, x, backend="native")`.

    Args:
        reference: what it means, in plain JAX or NumPy.
        native: the same bits from compiled C++, where the devices are CPUs.
        cuda: the same from CUDA; None: the reference runs there.
    """

    def __init__(
        self, reference: Callable[..., Any], *, native: Callable[..., Any], cuda: Callable[..., Any] | None = None
    ) -> None:
        self._executions = {"reference": reference, "native": native, "cuda": cuda or reference}
        functools.update_wrapper(self, reference)

    def __call__(self, *args: Any, backend: str, **options: Any) -> Any:
        return self._executions[backend](*args, **options)


def kernel(
    *, native: Callable[..., Any], cuda: Callable[..., Any] | None = None
) -> Callable[[Callable[..., Any]], Kernel]:
    """Makes a function the reference of a `Kernel`."""
    return lambda reference: Kernel(reference, native=native, cuda=cuda)


def choose(name: str | None, jax_platform: str) -> str:
    """The backend to use: the one named, else the fastest there is for the platform of the devices.

    Raises:
        UnknownNameError: no such backend.
        DeviceError: `native` or `cuda` is asked for where it cannot run.
    """
    able = jax_platform == "cpu" and can_compile()
    if name is None and jax_platform in cuda_kernels.NVCC.devices:
        if cuda_kernels.able(jax_platform):
            return "cuda"
        _say_plain()
        return "reference"
    if name is None:
        if jax_platform == "cpu" and not able:
            _say_slower()
        return "native" if able else "reference"
    if name not in BACKENDS:
        raise UnknownNameError("kernel backend", name, BACKENDS)
    if name == "native" and not able:
        raise DeviceError(
            f"backend 'native' needs CPU devices and a C++ compiler (g++ or clang++); the devices are {jax_platform!r}. "
            "Install one, or use backend='reference'."
        )
    if name == "cuda" and not cuda_kernels.able(jax_platform):
        raise DeviceError(
            f"backend 'cuda' needs NVIDIA GPUs and nvcc on PATH (the CUDA toolkit, or nvidia-cuda-nvcc of PyPI); the devices are "
            f"{jax_platform!r}, nvcc is {'there' if shutil.which('nvcc') else 'not there'}. Leave `backend` out, or use "
            "backend='reference'."
        )
    return name


def choose_builder(step: str, jax_platform: str) -> str:
    """The backend that draws connections and tables, which happens on the host: on CPUs that of the step; for other devices, and
    a step of CUDA, compiled C++ where there is a compiler."""
    if jax_platform == "cpu" and step != "cuda":
        return step
    if not can_compile():
        _say_slower()
        return "reference"
    return "native"


def can_compile() -> bool:
    """Whether there is a C++ compiler."""
    return (shutil.which("g++") or shutil.which("clang++")) is not None


@functools.cache
def _say_slower() -> None:
    print(
        "dist-sim: no C++ compiler (g++ or clang++) is on PATH: the kernels run as plain JAX, slower, with the same results.",
        file=sys.stderr, flush=True,
    )  # fmt: skip


@functools.cache
def _say_plain() -> None:
    print(
        "dist-sim: nvcc is not on PATH: the kernels run as plain JAX on the GPU, slower, with the same results.",
        file=sys.stderr, flush=True,
    )  # fmt: skip


def compiler_failed(error: BaseException) -> bool:
    """Whether an error tells that compiled kernels could not be made, as when a signal has ended the compiler."""
    return isinstance(error, CompilationError)


def library() -> Any:
    """The compiled kernels of the step. FFI targets are registered as `dist_sim.<kernel>`."""
    return compiled("kernels")


@functools.cache
def compiled(source: str) -> Any:
    """The compiled kernels of a file of `cpp/`."""
    with compiling():
        return load_cpp_file(_FOLDER / f"{source}.cpp", name=f"dist_sim_{source}", **_options())


_FOLDER = Path(__file__).resolve().parent / "cpp"
_loaded: set[str] = set()
_TOGETHER = 6  # printed kernels that are worth a compiler of their own: the headers take as long as two


def load_printed(wanted: Mapping[str, Any], source_of: Callable[[Any], str]) -> None:
    """Loads the compiled kernels of these targets. Those that no earlier process has compiled are compiled together.

    Args:
        wanted: target -> what it is printed from, by `source_of`.
    """
    missing = {target: source_of(wanted[target]) for target in wanted if target not in _loaded}
    if not missing:
        return
    remembered = _Remembered()
    batches = {text for text in (remembered.source(target) for target in missing) if text is not None}
    unknown = [target for target in missing if not any(f"// @BE {target}\n" in text for text in batches)]
    parts = min(max(1, len(unknown) // _TOGETHER), os.cpu_count() or 1)
    for part in (unknown[k::parts] for k in range(parts) if unknown):
        text = _PRINTED + "\n".join(missing[target] for target in part)
        remembered.keep(part, text)
        batches.add(text)
    pool = library()._lib.dist_sim_pool
    pool.restype = ctypes.c_void_p

    def load(text: str) -> None:
        name = f"dist_sim_models_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        module = load_cpp_inline(name=name, cpp_sources=text, **_options())
        module._lib.dist_sim_use_pool.argtypes = [ctypes.c_void_p]
        module._lib.dist_sim_use_pool(pool())

    with compiling(), ThreadPoolExecutor(os.cpu_count()) as workers:
        list(workers.map(load, sorted(batches)))
    for text in batches:
        _loaded.update(re.findall(r"^// @BE (\w+)$", text, re.MULTILINE))


_PRINTERS = ("neurons.py", "plastic_source.py", "plastic_step.py")
_PRINTED = """#include "model.h"
using BE::Tensor;
extern "C" void dist_sim_use_pool(void* pool) { dist_sim::Pool::shared() = static_cast<dist_sim::Pool*>(pool); }
"""


class _Remembered:
    """Which sources hold which printed kernels, in the user's cache: kernels that were compiled together are found by any of
    them.

    Without a folder that can be written nothing is remembered, and kernels are compiled again in other company.
    """

    def __init__(self) -> None:
        # A target is named by what it computes; how that is printed, and what exp is, belongs to the key.
        kernels = _FOLDER.parent
        printers = [*sorted((kernels / "scalar").glob("*.py")), *map(kernels.joinpath, _PRINTERS)]
        printed = repr(_options()["extra_cflags"]).encode() + b"".join(file.read_bytes() for file in printers)
        key = hashlib.sha256(printed).hexdigest()[:12]
        root = os.environ.get("BRAINEVENT_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        self._folder = Path(root) / "dist_sim" / f"printed-{key}"

    def source(self, target: str) -> str | None:
        with suppress(OSError):
            return (self._folder / (self._folder / target).read_text()).read_text()
        return None

    def keep(self, targets: Sequence[str], text: str) -> None:
        name = f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.cpp"
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            for file, content in ((name, text), *((target, name) for target in targets)):
                half = self._folder / f"{file}.{os.getpid()}"
                half.write_text(content)
                half.replace(self._folder / file)


def _options() -> dict[str, Any]:
    flags = ["-O3", "-std=c++17", "-pthread", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", *_vector_flags()]
    headers = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(_FOLDER.glob("*.h")))).hexdigest()[:16]
    # The cache knows the source and the flags; the headers that it includes are named in a flag.
    flags += [f"-DDIST_SIM_BLOCK={BLOCK}", f"-DDIST_SIM_HEADERS={headers}"]
    return {"target_prefix": _TARGETS, "extra_cflags": flags, "extra_include_paths": [str(_FOLDER)]}


def call(
    kernel: str,
    results: Sequence[jax.ShapeDtypeStruct],
    *operands: jax.Array,
    in_place: dict[int, int] | None = None,
    has_side_effect: bool = False,
    source: str | None = "kernels",
    **attributes: Any,
) -> Any:
    """Calls a compiled kernel inside a trace.

    Args:
        in_place: operand -> result that is the same buffer.
        has_side_effect: it is to be called once per call here, even if its result were unused or known.
        source: the file of `cpp/` that has it, None for one that is loaded already.
    """
    if source is not None:
        compiled(source)
    f: Callable[..., Any] = jax.ffi.ffi_call(
        f"{_TARGETS}.{kernel}", list(results), input_output_aliases=in_place or {}, has_side_effect=has_side_effect
    )
    return tuple(f(*operands, **attributes))


def _vector_flags() -> list[str]:
    """AVX level of this processor, named rather than `native`: the flags are part of the cache's key, and a home folder may
    be shared by machines of several kinds."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return []
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return []
    if {"avx512f", "avx512dq", "avx512vl", "avx512bw"} <= words:
        return ["-march=x86-64-v4"]
    if {"avx2", "bmi2", "fma"} <= words:
        return ["-march=x86-64-v3"]
    return []
