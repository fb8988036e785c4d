"""The CUDA of every model: nvcc compiles it without spilled registers, and its twin under g++ gives the CPU's bits."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dist_sim.kernels import cuda, neurons
from dist_sim.kernels.philox import key_words
from dist_sim.nest.neurons import NEURONS
from dist_sim.nest.neurons.shape import default_shape, settable
from dist_sim.nest.neurons.shape import entries as rows_of
from dist_sim.nest.neurons.text import host_parameters, neuron_text, start_values

N, STEPS = 256, 40
DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
CPP = Path(cuda.__file__).resolve().parent / "cpp"


@pytest.fixture(scope="module")
def texts():
    return {(name, d): neuron_text(m, default_shape(m), d) for name, m in NEURONS.items() for d in DTYPES}


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_nvcc_compiles_every_model_without_spills(texts, architecture, tmp_path):
    found = cuda.compile_cubin(list(texts.values()), architecture, tmp_path)
    assert {k.kernel.removesuffix("_kernel") for k in found} == {t.target for t in texts.values()}
    assert not [k for k in found if k.spilled]


class Arguments(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in (
            "arriving", "rows", "shared", "own", "shared_whole", "own_whole", "quanta", "currents", "ids", "states", "counters",
            "bits", "counts",
        )),
        *((name, ctypes.c_int64) for name in ("n", "size", "threads", "offset")),
        ("one_quantum", ctypes.c_bool), ("one_current", ctypes.c_bool), ("step", ctypes.c_int32),
        *((name, ctypes.c_uint32) for name in ("key0", "key1", "stream")),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def twins(texts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins")
    (folder / "models.cu").write_text(cuda.source_of(list(texts.values())))
    flags = ["-x", "c++", "-O2", "-std=c++17", "-ffp-contract=off", "-fno-math-errno", "-DDIST_SIM_ONE_LANE", "-shared", "-fPIC"]
    library = folder / "twins.so"
    command = ["g++", *flags, "-I", str(CPP), "-o", str(library), str(folder / "models.cu")]
    subprocess.run(command, check=True, capture_output=True)
    return ctypes.CDLL(str(library))


def inputs(model, dtype):
    """Parameters, half of them one per neuron, states and what arrives."""
    kind, rng = NEURONS[model], np.random.default_rng(7)
    shape, values = default_shape(kind), {}
    for name, parameter in settable(kind).items():
        for k, entry in enumerate(rows_of(name, parameter.axis, shape)):
            default = parameter.default[k] if isinstance(parameter.default, tuple) else parameter.default
            values[entry] = np.full(N, float(default))
    text = neuron_text(kind, shape, dtype)
    rows, starts = host_parameters(kind, values, 0.1, shape, dtype), start_values(kind, values, 0.1, shape)
    names = [*text.numbers, *text.wholes]
    own = [bool(k % 2) and n != "dt" for k, n in enumerate(names)]
    place, shared, each = [], {True: [], False: []}, {True: [], False: []}
    for k, name in enumerate(names):
        whole = k >= len(text.numbers)
        if own[k]:
            place.append(len(each[whole]))
            each[whole].append(rows[name])
        else:
            place.append(-1 - len(shared[whole]))
            shared[whole].append(rows[name][0])
    parameters = neurons.Parameters(
        rows=np.array(place, np.int32), shared=np.array(shared[False], dtype), own=np.array(each[False], dtype).reshape(-1, N),
        shared_whole=np.array(shared[True], np.int32), own_whole=np.array(each[True], np.int32).reshape(-1, N),
    )  # fmt: skip
    states = np.array([starts[n] for n in text.states]).reshape(-1, N).astype(dtype)
    counters = np.zeros((len(text.counters), N), np.int32)
    integer = np.int64 if dtype == np.float64 else np.int32
    counting = [neurons_counts(kind, shape, k) for k in range(text.channels)]
    unit = np.array([[1.0] if c else [2.0**-12] for c in counting]).reshape(-1, 1).astype(dtype)
    arriving = np.zeros((STEPS, 2, text.channels, N), integer)
    for k, counts in enumerate(counting):
        size = rng.integers(0, 3, (STEPS, 2, N)) if counts else rng.integers(0, 9 << 12, (STEPS, 2, N))
        arriving[:, :, k] = np.where(rng.random((STEPS, 2, N)) < 0.2, size, 0)
    return text, parameters, states, counters, unit, arriving.reshape(STEPS, 2, -1)


def neurons_counts(kind, shape, channel):
    from dist_sim.nest.neurons.shape import channels_of, counts_of

    return counts_of(kind, channels_of(kind, shape)[channel])


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize("model", NEURONS)
def test_the_twin_gives_the_bits_of_the_cpu(twins, model, dtype):
    with jax.enable_x64(dtype == np.float64):
        text, parameters, states, counters, unit, arriving = inputs(model, dtype)
        current = np.full((text.currents, 1), 350.0, dtype)
        ids, key = np.arange(N, dtype=np.uint32) + 5, key_words(11)

        @jax.jit
        def step(k, arriving, p, unit, states, counters):
            parameters = neurons.Parameters(rows=place, **p)
            return neurons.update(
                text, k, arriving, parameters, unit, current, states, counters, ids, key, offset=0, stream=3, backend="native"
            )

        place = parameters.rows
        p = {n: jnp.asarray(getattr(parameters, n)) for n in ("shared", "own", "shared_whole", "own_whole")}
        ours = jnp.asarray(states), jnp.asarray(counters)
        mine, counted, bits, counts = states.copy(), counters.copy(), np.zeros(N // 32, np.uint32), np.zeros(N, np.int32)
        spikes = 0
        for k in range(STEPS):
            *ours, their_bits, _ = step(jnp.int32(k), jnp.asarray(arriving[k]), p, unit, *ours)
            given = {
                "arriving": arriving[k], "rows": place, "shared": parameters.shared, "own": parameters.own, "ids": ids,
                "shared_whole": parameters.shared_whole, "own_whole": parameters.own_whole, "quanta": unit, "currents": current,
                "states": mine, "counters": counted, "bits": bits, "counts": counts,
            }  # fmt: skip
            at = Arguments(
                **{n: a.ctypes.data for n, a in given.items()}, n=N, size=arriving.shape[2], threads=2, offset=0,
                one_quantum=True, one_current=True, step=k, key0=11, key1=0, stream=3,
            )  # fmt: skip
            getattr(twins, text.target)(ctypes.byref(at))
            np.testing.assert_array_equal(bits, np.asarray(their_bits), err_msg=f"spikes of step {k}")
            spikes += counts.sum()
        np.testing.assert_array_equal(mine, np.asarray(ours[0]))
        np.testing.assert_array_equal(counted, np.asarray(ours[1]))
        assert spikes > 0 or re.match("iaf_cond|parrot", model) is None
