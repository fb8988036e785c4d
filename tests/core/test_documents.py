"""The programs of five documents of brainstate and brainpy.state run here, and are right beyond what they print.

`tests/data/documents` holds their code as it is printed. Only whole import lines are renamed, by `IMPORTS`: one package stands
for the three. `ds.state` is that package again, so that `brainpy.state.LIF` is found. Where a block is broken as printed, there
stand the error or warning that it brings here, and a corrected block.
"""

import contextlib
import doctest
import io
import re
import warnings
from types import SimpleNamespace

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds

IMPORTS = {f"import {name}": f"import dist_sim as {name}" for name in ("brainpy", "brainstate", "braintools")}
BLOCK = re.compile(r"```python(?: corrected)?\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)
# The first two documents print no imports.
PRELUDE = "import brainstate\nimport jax\nimport jax.numpy as jnp\n"


def renamed(code):
    return "\n".join(IMPORTS.get(line, line) for line in code.split("\n"))


@pytest.fixture
def document(checkout):
    """Runs the blocks of a document in order in one namespace; gives the namespace.

    What each prints must be as printed there; then come the error that ends it and the warnings.
    """
    same = doctest.OutputChecker().check_output

    def execute(name, blocks, prelude="", **given):
        namespace = dict(given)
        exec(renamed(prelude), namespace)
        found = BLOCK.findall((checkout / "tests" / "data" / "documents" / f"{name}.md").read_text())
        assert len(found) == blocks
        for number, (code, printed) in enumerate(found, 1):
            with contextlib.redirect_stdout(io.StringIO()) as out, warnings.catch_warnings(record=True) as warned:
                try:
                    exec(compile(renamed(code), f"{name}, block {number}", "exec"), namespace)
                except Exception as error:
                    print(f"{type(error).__name__}: {error}")
                print(*(f"UserWarning: {w.message}\n" for w in warned if w.category is UserWarning), sep="", end="")
            assert same(printed, out.getvalue(), doctest.ELLIPSIS), f"block {number} printed {out.getvalue()}"
        return SimpleNamespace(**namespace)

    return execute


class Layer(ds.nn.Module):
    def __init__(self, w, b):
        super().__init__()
        self.wb = ds.ParamState({"w": w, "b": b})
        self.calls = ds.LongTermState(0)
        self.last = ds.HiddenState(jnp.zeros(b.shape))

    def update(self, x):
        self.calls.value = self.calls.value + 1
        self.last.value = jnp.tanh(x @ self.wb.value["w"] + self.wb.value["b"])[0]
        return jnp.tanh(x @ self.wb.value["w"] + self.wb.value["b"])


class Network(ds.nn.Module):
    """Two layers of any width: what the documents call `MyModule(...)`."""

    def __init__(self, *options):
        super().__init__()
        random = np.random.default_rng(0)
        self.layers = [Layer(random.normal(0, 0.5, shape), np.zeros(shape[1])) for shape in ((3, 8), (8, 1))]

    def update(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def batch():
    x = np.random.default_rng(1).normal(size=(32, 3)).astype(np.float32)
    return x, np.tanh(x[:, :1] - 2 * x[:, 1:2])


PARAMS = [("layers", 0, "wb"), ("layers", 1, "wb")]


# Thinking in BrainState


def test_thinking_in_brainstate(document):
    selected_from, (x, y) = Network(), batch()

    def loss_fn(x, y):
        return jnp.mean((program.model(x) - y) ** 2)

    program = document("thinking_in_brainstate", 3, PRELUDE, loss_fn=loss_fn, lr=0.3, MyModule=Network, model=selected_from)
    assert program.s.value.tolist() == [1, 1, 1]
    assert list(program.params) == PARAMS and program.model is not selected_from
    start = {path: state.value for path, state in program.params.items()}
    losses = [float(program.train_step(x, y)) for _ in range(30)]

    def pure_loss(params):
        out = x
        for path in PARAMS:
            out = jnp.tanh(out @ params[path]["w"] + params[path]["b"])
        return jnp.mean((out - y) ** 2)

    expected = []
    for _ in range(30):
        start = jax.tree.map(lambda p, g: p - 0.3 * g, start, jax.grad(pure_loss)(start))
        expected.append(float(pure_loss(start)))
    assert losses[-1] < 0.1 * losses[0] and np.allclose(losses, expected, rtol=1e-4)
    for path in PARAMS:
        for leaf in "wb":
            assert np.allclose(program.params[path].value[leaf], start[path][leaf], rtol=1e-3, atol=1e-5)
    # Nothing is thrown away or done twice: the loss is computed twice per step, compiled once.
    assert program.model.layers[0].calls.value == 60 and program.train_step.compilations == 1


def test_gradients_are_keyed_as_the_states_are():
    model, (x, y) = Network(), batch()
    params = model.states(ds.ParamState)
    grads = ds.transform.grad(lambda x, y: jnp.mean((model(x) - y) ** 2), params)(x, y)
    assert list(grads) == list(params) == PARAMS
    for path, state in params.items():
        assert jax.tree.map(jnp.shape, grads[path]) == jax.tree.map(jnp.shape, state.value)


# The State Model


def test_the_state_model(document):
    model = Network()
    program = document("the_state_model", 2, PRELUDE, model=model)
    assert program.s.value.tolist() == [1, 1, 1]
    assert program.params == {path: model.layers[path[1]].wb for path in PARAMS}
    assert program.hidden == {("layers", n, "last"): model.layers[n].last for n in (0, 1)}


# The state paradigm


def lif_trace(times, start, onset):
    """V in mV after each step of 0.1 ms, exact: rest -65, threshold -50, tau 10 ms, 20 mV of drive after `onset` ms."""
    V, trace, decay = start, [], np.exp(-0.1 / 10.0)
    for t in times:
        if V >= -50.0:
            V = -65.0
        target = -45.0 if t > onset else -65.0
        V = target + (V - target) * decay
        trace.append(V)
    return np.array(trace)


@pytest.fixture
def figures():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.close("all")
    yield pyplot
    pyplot.close("all")


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_the_state_paradigm(document, figures):
    program = document("the_state_paradigm", 7)
    assert program.voltage.value == -60.0 * u.mV and program.weights.value.shape == (2, 2)

    # A model of one's own: the parameter is found by its kind, and a step is a step of Euler's method.
    unit = program.LeakyUnit(4)
    assert list(unit.states(ds.ParamState)) == [("tau",)] and list(unit.states(ds.ShortTermState)) == [("v",)]
    with ds.environ.context(dt=0.5 * u.ms):
        unit(8.0 * u.mV)
        assert np.allclose(unit(8.0 * u.mV).to_decimal(u.mV), 0.4 + 0.5 * (8.0 - 0.4) / 10.0)

    # The trace: V starts at 0 mV, the default, above threshold; one spike, then rest until the current comes.
    times, voltages = np.asarray(program.times.to_decimal(u.ms)), np.asarray(program.voltages.to_decimal(u.mV))
    assert times.shape == (2000,) and voltages.shape == (2000, 1)
    exact = lif_trace(times, 0.0, 50.0)
    assert np.allclose(voltages[:, 0], exact, rtol=0, atol=2e-4)
    assert (exact >= -50.0).sum() == (150 * 10 - 1) // 139

    # The same loop inside jit.
    with ds.environ.context(dt=0.1 * u.ms):
        ds.nn.init_all_states(program.neuron)
        compiled = ds.transform.jit(lambda times: ds.transform.for_loop(program.step, times))(program.times)
        assert np.allclose(compiled.to_decimal(u.mV), voltages, rtol=0, atol=2e-4)
        assert np.allclose(program.neuron.V.value.to_decimal(u.mV), voltages[-1], rtol=0, atol=2e-4)

        # One compiled step, called again and again: one compilation, also after the model was reset.
        ds.nn.init_all_states(program.neuron)
        spikes = [float(program.one_step(jnp.ones(1) * 20.0 * u.mA)[0]) for _ in range(300)]
    trace = lif_trace(np.full(300, 1.0), 0.0, 0.0)
    assert np.array_equal(spikes, trace >= -50.0) and sum(spikes) == 2
    assert program.one_step.compilations == 1

    (axes,) = figures.gcf().axes
    trace, threshold = axes.lines
    assert np.array_equal(trace.get_xydata(), np.stack([times, voltages[:, 0]], axis=1))
    assert set(threshold.get_ydata()) == {-50} and axes.get_ylabel() == "V (mV)"
    figures.gcf().canvas.draw()


# The readme of brainpy.state


@pytest.fixture
def settings():
    """What a program sets for the whole process ends with the test."""
    double = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", double)
    for entry in ("dt", "precision"):
        ds.environ.pop(entry, None)


def test_the_readme(document, settings):
    program = document("brainpy_state_readme", 3)
    # As printed, hardly anything is coupled: every neuron spikes with the period of a membrane alone, like clockwork.
    spikes, period = np.asarray(program.spikes), 20.0 * np.log((20.0 - 0.0) / (20.0 - 10.0)) + 5.0
    assert spikes.shape == (10_000, 4000)
    intervals = np.concatenate([np.diff(np.flatnonzero(spikes[:, n])) for n in range(0, 4000, 500)]) * 0.1
    assert len(intervals) > 300 and np.abs(intervals - period).max() < 0.1 * period
    # Corrected, inhibition holds it well below that, and it is irregular.
    coupled = np.asarray(program.coupled_spikes)[1000:]
    assert 5.0 < coupled.mean() / 1e-4 < 0.7 * 1000.0 / period
    intervals = np.concatenate([np.diff(np.flatnonzero(coupled[:, n])) for n in range(0, 4000, 5)])
    assert intervals.std() > 0.3 * intervals.mean()

    # The membrane of an iaf_psc_alpha under a constant current, by its parameters' defaults: C_m, tau_m, E_L, V_th, t_ref.
    steps, V, refractory, trace = 0, -70.0, 0, []
    for _ in range(1000 * 10):
        if refractory:
            refractory -= 1
        else:
            V = -70.0 + (V + 70.0) * np.exp(-0.01) - 376.0 * 10.0 / 250.0 * np.expm1(-0.01)
            if V >= -55.0:
                V, refractory, steps = -70.0, 20, steps + 1
        trace.append(V)
    found = program.v_m.to_decimal(u.mV)
    assert found.dtype == np.float64 and steps > 10
    assert np.allclose(found[:, 0], trace[9::10], rtol=0, atol=1e-9)


# Overview


def test_the_overview(document, settings):
    program = document("overview", 18)
    # As corrected: each source brings 0.5 mS to 5 targets, through 1 V to as many mA.
    ds.nn.init_all_states(program.neurons)
    projection, neurons = program.projection, program.projection.post
    ds.nn.init_all_states(projection)
    projection(np.ones(program.N_pre, bool))
    neurons(0.0 * u.mA)
    arrived = np.asarray(projection.comm(np.ones(program.N_pre, bool)).to_decimal(u.mS))
    assert arrived.sum() == 0.5 * 100 * 5
    assert np.allclose(neurons.V.value.to_decimal(u.mV), -65.0 - arrived * np.expm1(-0.01), atol=1e-4)

    # The network that is left to the reader: the drive makes it spike, and inhibition of twice the drive less.
    net = ds.nn.init_all_states(program.EINet())
    E, I = ds.transform.for_loop(lambda: net(1.5 * u.mA), length=1000)
    assert np.asarray(E).shape == (1000, 800) and np.asarray(I).shape == (1000, 200)
    assert 0.01 < np.asarray(E).mean() and 0.01 < np.asarray(I).mean()

    # 5 nA through 4 Mohm are 20 mV: the period is that of the membrane, and two programs agree on it.
    period = 10.0 * np.log(20.0 / (20.0 - 15.0))
    for spikes, steps in ((program.results, 10_000), (program.result, 1000)):
        assert np.asarray(spikes).shape == (steps, 100)
        assert (np.asarray(spikes).sum(0) == steps // np.ceil(period / 0.1)).all()

    # Training: a slower membrane does not spike in time, and that is what the loss asks for.
    losses = [float(program.train_step()) for _ in range(20)]
    assert losses[0] == pytest.approx(0.01, rel=1e-6) and losses[-1] == 0.0
    assert program.train_step.compilations == 1
    assert program.net.tau > 10.0 / np.log(2.0) * u.ms


def test_a_program_is_renamed_by_its_imports_only():
    assert (
        renamed("import brainpy\nimport jax\nx = 'import brainpy'")
        == "import dist_sim as brainpy\nimport jax\nx = 'import brainpy'"
    )
    assert ds.state is ds
