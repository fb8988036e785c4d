"""The programs of three documents of brainstate and brainpy.state run here, and are right beyond what they print.

`tests/data/documents` holds their code as it is printed. Only whole import lines are renamed, by `IMPORTS`: one package stands
for the three. `ds.state` is that package again, so that `brainpy.state.LIF` is found.
"""

import contextlib
import io
import re
from types import SimpleNamespace

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds

IMPORTS = {f"import {name}": f"import dist_sim as {name}" for name in ("brainpy", "brainstate", "braintools")}
BLOCK = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)
# The first two documents print no imports.
PRELUDE = "import brainstate\nimport jax\nimport jax.numpy as jnp\n"


def renamed(code):
    return "\n".join(IMPORTS.get(line, line) for line in code.split("\n"))


@pytest.fixture
def document(checkout):
    """Runs the blocks of a document in order in one namespace; gives the namespace. What each prints must be as printed there."""

    def execute(name, blocks, prelude="", **given):
        namespace = dict(given)
        exec(renamed(prelude), namespace)
        found = BLOCK.findall((checkout / "tests" / "data" / "documents" / f"{name}.md").read_text())
        assert len(found) == blocks
        for number, (code, printed) in enumerate(found, 1):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(renamed(code), f"{name}, block {number}", "exec"), namespace)
            assert out.getvalue() == printed
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


def test_a_program_is_renamed_by_its_imports_only():
    assert (
        renamed("import brainpy\nimport jax\nx = 'import brainpy'")
        == "import dist_sim as brainpy\nimport jax\nx = 'import brainpy'"
    )
    assert ds.state is ds
