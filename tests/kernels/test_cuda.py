"""The CUDA of every model: nvcc compiles it without spilled registers, and its twin under g++ gives the CPU's bits."""

from __future__ import annotations

import functools
import re
import shutil

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


@pytest.fixture(scope="module")
def texts():
    return {(name, d): neuron_text(m, default_shape(m), d) for name, m in NEURONS.items() for d in DTYPES}


def source_of(texts):
    """All of them in one file: a compiler reads the headers once."""
    return "\n".join(neurons.cuda_of(text) for text in texts)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "architectures", [("sm_80", "sm_90"), pytest.param(("sm_100",), marks=pytest.mark.slow)], ids="-".join
)
def test_nvcc_compiles_every_model_without_spills(texts, architectures):
    found = cuda.compiled_in(cuda.built(cuda.nvcc(architectures), source_of(texts.values())))
    built = {(k.kernel.removesuffix("_kernel"), k.architecture) for k in found}
    assert built == {(t.target, a) for t in texts.values() for a in architectures}
    assert not [k for k in found if k.spilled]


@pytest.fixture(scope="module")
def twins(texts):
    """The twins of all models, but of those that another test has loaded: XLA takes a name once. And the CPU's kernels, which
    by themselves would read the headers once per model."""
    neurons.load_compiled(list(texts.values()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "toolchain", cuda.TWIN)
        cuda.register(source_of(t for t in texts.values() if not cuda.loaded(t.target)))
        yield


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


@pytest.mark.timeout(900)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize("model", NEURONS)
def test_the_twin_gives_the_bits_of_the_cpu(twins, model, dtype):
    with jax.enable_x64(dtype == np.float64):
        text, parameters, states, counters, unit, arriving = inputs(model, dtype)
        current = np.full((text.currents, 1), 350.0, dtype)
        ids, key = np.arange(N, dtype=np.uint32) + 5, key_words(11)

        @functools.partial(jax.jit, static_argnames="backend")
        def step(k, arriving, p, unit, states, counters, *, backend):
            parameters = neurons.Parameters(rows=place, **p)
            return neurons.update(
                text, k, arriving, parameters, unit, current, states, counters, ids, key, offset=0, stream=3, backend=backend
            )

        place = parameters.rows
        p = {n: jnp.asarray(getattr(parameters, n)) for n in ("shared", "own", "shared_whole", "own_whole")}
        theirs = mine = jnp.asarray(states), jnp.asarray(counters)
        spikes = 0
        for k in range(STEPS):
            *theirs, their_bits, _ = step(jnp.int32(k), jnp.asarray(arriving[k]), p, unit, *theirs, backend="native")
            *mine, bits, _ = step(jnp.int32(k), jnp.asarray(arriving[k]), p, unit, *mine, backend="cuda")
            np.testing.assert_array_equal(bits, their_bits, err_msg=f"spikes of step {k}")
            spikes += int(np.bitwise_count(np.asarray(bits)).sum())
        np.testing.assert_array_equal(mine[0], theirs[0])
        np.testing.assert_array_equal(mine[1], theirs[1])
        assert spikes > 0 or re.match("iaf_cond|parrot", model) is None
