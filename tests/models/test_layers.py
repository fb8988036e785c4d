"""Layers of deep networks beside those of brainstate with the same weights: values, gradients; and on any mesh."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.errors import ParameterError, UnitError

RNG = np.random.default_rng(3)


def reference():
    return pytest.importorskip("brainstate")


def numbers(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def close(found, wanted):
    wanted = np.asarray(u.get_mantissa(wanted))
    return np.shape(found) == wanted.shape and np.allclose(u.get_mantissa(found), wanted, rtol=2e-5, atol=2e-6)


def given_weights(layer, other):
    """Gives both layers the same random parameters."""
    for name, theirs in other.states().items():
        ours = layer.states()[name]
        drawn = jax.tree.map(lambda x: jnp.abs(jnp.asarray(numbers(*x.shape))), theirs.value)
        theirs.value = ours.value = drawn


FUNCTIONS = """tanh relu squareplus softplus soft_sign sigmoid silu swish log_sigmoid elu leaky_relu hard_tanh celu selu gelu glu
logsumexp log_softmax softmax standardize relu6 hard_sigmoid hard_silu hard_swish hard_shrink mish soft_shrink prelu tanh_shrink
softmin sparse_plus sparse_sigmoid""".split()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_activation_is_that_of_brainstate(name):
    ours, theirs = getattr(ds.nn, name), getattr(reference().nn, name)
    x = 3 * numbers(4, 6)
    assert close(ours(x), theirs(x))
    both = [jax.grad(lambda x, f=f: (f(x) ** 2).sum())(x) for f in (ours, theirs)]
    assert close(*both)


MODULES = dict(
    Threshold=(0.1, 20.0), ReLU=(), Hardtanh=(-0.5, 2.0), ReLU6=(), Sigmoid=(), Hardsigmoid=(), Tanh=(), SiLU=(), Mish=(),
    Hardswish=(), ELU=(0.7,), CELU=(0.7,), SELU=(), GLU=(1,), GELU=(), Hardshrink=(0.3,), LeakyReLU=(0.2,), LogSigmoid=(),
    Softplus=(), Softshrink=(0.3,), PReLU=(1, 0.3), Softsign=(), Tanhshrink=(), Softmin=(), Softmax=(1,), LogSoftmax=(0,),
    Softmax2d=(), Identity=(),
)  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_an_activation_as_a_module(name):
    x = 3 * numbers(3, 4, 6)
    ours, theirs = (getattr(nn, name)(*MODULES[name]) for nn in (ds.nn, reference().nn))
    assert close(ours(x), theirs(x))
    assert isinstance(ours, ds.nn.ElementWiseBlock)


def test_activations_keep_units_or_refuse_them():
    x = jnp.array([-2.0, 0.2, 3.0]) * u.mV
    assert u.math.allclose(ds.nn.relu(x), jnp.array([0.0, 0.2, 3.0]) * u.mV)
    assert u.math.allclose(ds.nn.Hardshrink(0.5 * u.mV)(x), jnp.array([-2.0, 0.0, 3.0]) * u.mV)
    assert u.math.allclose(ds.nn.Softshrink(0.5 * u.mV)(x), jnp.array([-1.5, 0.0, 2.5]) * u.mV)
    assert u.math.allclose(ds.nn.hard_tanh(x, -1 * u.mV, 1 * u.mV), jnp.array([-1.0, 0.2, 1.0]) * u.mV)
    assert u.math.allclose(ds.nn.Threshold(0.0 * u.mV, 5 * u.mV)(x), jnp.array([5.0, 0.2, 3.0]) * u.mV)
    for refuses in (ds.nn.softmax, ds.nn.log_softmax, ds.nn.Softmin(), ds.nn.standardize):
        with pytest.raises(UnitError, match="without unit"):
            refuses(x)


def test_a_leaky_slope_drawn_at_random_lies_between_its_bounds():
    y = ds.nn.RReLU(0.2, 0.3)(-np.ones(1000, np.float32))
    assert -0.3 <= y.min() < -0.29 and -0.21 < y.max() <= -0.2


def test_one_hot():
    x = np.array([0, 2, 1])
    assert close(ds.nn.one_hot(x, 3), np.eye(3)[x]) and ds.nn.one_hot(x, 3, dtype=jnp.int8, axis=0).dtype == jnp.int8


CONVOLUTIONS = [
    (1, dict(kernel_size=3)), (1, dict(kernel_size=4, stride=2, padding=(1, 2))), (1, dict(kernel_size=(3,), padding="VALID")),
    (2, dict(kernel_size=3)), (2, dict(kernel_size=(3, 2), stride=(2, 1), padding=((1, 0), (2, 1)))),
    (2, dict(kernel_size=3, padding=1, groups=2, b_init=ds.init.Constant(0.5))), (2, dict(kernel_size=3, rhs_dilation=2)),
    (2, dict(kernel_size=2, lhs_dilation=(2, 1), padding=(0, 1))), (2, dict(kernel_size=3, channel_first=True, b_init=True)),
    (2, dict(kernel_size=2, w_mask=numbers(2, 2, 4, 6) > 0)), (3, dict(kernel_size=2, stride=2, b_init=True)),
]  # fmt: skip


@pytest.mark.parametrize("axes, options", CONVOLUTIONS)
def test_a_convolution_is_that_of_brainstate(axes, options):
    bs = reference()
    size = (7, 6, 5)[:axes]
    in_size = (4, *size) if options.get("channel_first") else (*size, 4)
    both = []
    for nn, init in ((ds.nn, ds.init), (bs.nn, bs.nn.init)):
        bias = {"b_init": init.Constant(0.5)} if "b_init" in options else {}
        both.append(getattr(nn, f"Conv{axes}d")(in_size, 6, **{**options, **bias}))
    given_weights(*both)
    ours, theirs = both
    assert ours.out_size == theirs.out_size and ours.in_size == theirs.in_size
    x = numbers(3, *in_size)
    assert close(ours(x), theirs(x)) and close(ours(x[0]), theirs(x[0]))
    found = ds.transform.grad(lambda: (ours(x) ** 2).sum(), ours.states(ds.ParamState))()
    wanted = bs.transform.grad(lambda: (theirs(x) ** 2).sum(), theirs.states(bs.ParamState))()
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(dict(wanted)), strict=True):
        assert np.allclose(a, b, rtol=1e-4, atol=1e-3)


def test_a_convolution_of_units_and_of_spikes():
    layer = ds.nn.Conv2d((5, 5, 2), 3, 3, w_init=numbers(3, 3, 2, 3) * u.mV, b_init=ds.init.ZeroInit())
    spikes = RNG.random((5, 5, 2)) < 0.3
    y = layer(spikes)
    assert u.get_unit(y) == u.mV and y.shape == (5, 5, 3)
    assert u.math.allclose(y, layer(spikes.astype(np.float32)))
    assert u.get_unit(ds.nn.Conv1d((5, 2), 3, 3)(np.ones((5, 2), np.float32) * u.mA)) == u.mA


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: ds.nn.Conv2d((5, 5), 3, 3), "needs a whole number of at least 1, or 3"),
        (lambda: ds.nn.Conv2d((5, 5, 4), 3, 3, groups=2), "must divide the 4 input and 3 output"),
        (lambda: ds.nn.Conv2d((5, 5, 4), 3, 3, padding="same"), "needs 'SAME', 'VALID'"),
        (lambda: ds.nn.Conv2d((5, 5, 4), 3, 3, padding=(1, 1, 1)), "2 spatial axes"),
        (lambda: ds.nn.Conv2d((5, 5, 4), 3, (3, 3, 3)), "or 2 of them"),
        (lambda: ds.nn.Conv2d((5, 5, 4), 3, 3)(np.ones((5, 4, 4))), r"needs \(5, 5, 4\)"),
        (lambda: ds.nn.MaxPool2d(2)(np.ones((4, 4))), "needs 2 spatial axes"),
        (lambda: ds.nn.MaxPool2d(0), "at least 1"),
        (lambda: ds.nn.AdaptiveAvgPool1d(5)(np.ones((4, 2))), "shorter than its target"),
        (lambda: ds.nn.Flatten(in_size=(2, 3))(np.ones((2, 2))), r"end with \(2, 3\)"),
        (lambda: ds.nn.Unflatten(0, (2, 3))(np.ones(7)), "does not have the sizes"),
        (lambda: ds.nn.Dropout(1.5), "from 0 to 1"),
        (lambda: ds.nn.BatchNorm2d((4, 3)), "2 spatial axes and the features"),
        (lambda: ds.nn.GroupNorm(6, num_groups=4), "must divide the 6 features"),
        (lambda: ds.nn.GroupNorm(6, num_groups=2, group_size=3), "one of both"),
        (lambda: ds.nn.LayerNorm((4, 3), feature_axes=2), "there are 2 axes"),
        (lambda: ds.nn.Hardtanh(1.0, 0.0), "below max_val"),
    ],
)
def test_what_does_not_fit_is_refused(make, says):
    with pytest.raises(ParameterError, match=says):
        make()


POOLS = [
    ("MaxPool1d", dict(kernel_size=2)), ("MaxPool1d", dict(kernel_size=3, stride=2, padding="SAME")),
    ("MaxPool2d", dict(kernel_size=2)), ("MaxPool2d", dict(kernel_size=(2, 3), stride=1, padding=1)),
    ("MaxPool2d", dict(kernel_size=2, channel_axis=0)), ("MaxPool2d", dict(kernel_size=2, channel_axis=None)),
    ("MaxPool3d", dict(kernel_size=2)), ("AvgPool1d", dict(kernel_size=2)), ("AvgPool2d", dict(kernel_size=2, stride=2)),
    ("AvgPool2d", dict(kernel_size=3, padding="SAME")), ("AvgPool2d", dict(kernel_size=3, padding=((1, 0), (0, 1)))),
    ("AvgPool3d", dict(kernel_size=2, stride=2)), ("AdaptiveAvgPool1d", dict(target_size=3)),
    ("AdaptiveAvgPool2d", dict(target_size=(3, None))), ("AdaptiveAvgPool3d", dict(target_size=2)),
    ("AdaptiveMaxPool1d", dict(target_size=3)), ("AdaptiveMaxPool2d", dict(target_size=(2, 3), channel_axis=0)),
    ("AdaptiveMaxPool3d", dict(target_size=2)),
]  # fmt: skip


@pytest.mark.parametrize("name, options", POOLS)
def test_pooling_is_that_of_brainstate(name, options):
    shape = (5, 6, 7, 4) if "3d" in name else (5, 6, 4) if "2d" in name else (7, 4)
    ours, theirs = (getattr(nn, name)(in_size=shape, **options) for nn in (ds.nn, reference().nn))
    x = numbers(*shape)
    assert close(ours(x), theirs(x))
    if options.get("channel_axis", -1) == -1:
        assert ours.out_size == theirs.out_size
        batch = numbers(2, *shape)
        assert close(ours(batch), theirs(batch))
    both = [jax.grad(lambda x, f=f: (f(x) ** 2).sum())(x) for f in (ours, theirs)]
    assert close(*both)


def test_pooling_keeps_units_and_takes_spikes():
    x = numbers(4, 4, 2)
    assert u.math.allclose(ds.nn.MaxPool2d(2)(x * u.mV), ds.nn.MaxPool2d(2)(x) * u.mV)
    assert u.math.allclose(ds.nn.AvgPool2d(2)(x * u.mV), ds.nn.AvgPool2d(2)(x) * u.mV)
    spikes = x > 0
    assert np.array_equal(ds.nn.MaxPool2d(2)(spikes), ds.nn.MaxPool2d(2)(spikes.astype(np.float32)) > 0)
    assert np.allclose(ds.nn.AvgPool2d(2)(spikes), ds.nn.AvgPool2d(2)(spikes.astype(np.float32)))
    assert np.array_equal(ds.nn.MaxPool1d(2, channel_axis=None)(-np.arange(1, 7)), [-1, -3, -5])


def test_pooling_says_where_the_largest_stand():
    x = np.round(numbers(2, 6, 6, 3))
    ours, theirs = (nn.MaxPool2d(2, return_indices=True)(x) for nn in (ds.nn, reference().nn))
    assert np.array_equal(ours[0], theirs[0]) and np.array_equal(ours[1], theirs[1])
    assert np.array_equal(x.ravel()[ours[1]], ours[0])


@pytest.mark.parametrize("options", [{}, dict(start_axis=1), dict(start_axis=0, end_axis=1), dict(in_size=(3, 4)), dict(
    start_axis=1, in_size=(3, 4, 2), end_axis=2)])
def test_flatten_is_that_of_brainstate(options):
    ours, theirs = (nn.Flatten(**options) for nn in (ds.nn, reference().nn))
    x = numbers(2, *options.get("in_size", (3, 4)))
    assert close(ours(x), theirs(x))
    if "in_size" in options:
        assert ours.out_size == theirs.out_size
    back = ds.nn.Unflatten(-1, (-1, 2), in_size=(5, 8))
    assert back.out_size == (5, 4, 2) and back(np.zeros((5, 8)) * u.mV).shape == (5, 4, 2)


def test_dropout_is_training_alone_and_keeps_the_mean():
    layer = ds.nn.Dropout(0.8)
    x = np.ones(20_000, np.float32) * u.mV
    with pytest.raises(KeyError, match="whether this is training"):
        layer(x)
    run = ds.transform.jit(layer)
    with ds.environ.context(fit=False):
        assert u.math.allclose(run(x), x)
    with ds.environ.context(fit=True):
        one, two = run(x).to_decimal(u.mV), run(x).to_decimal(u.mV)
        assert not np.array_equal(one, two)
        assert set(np.unique(one)) == {np.float32(0), np.float32(1 / 0.8)} and abs(one.mean() - 1) < 0.02
        assert not np.any(ds.nn.Dropout(0.0)(np.ones(5))) and np.all(ds.nn.Dropout(1.0)(np.ones(5)) == 1)
        assert np.isfinite(ds.transform.grad(lambda x: ds.nn.Dropout(0.0)(x).sum(), argnums=0)(np.ones(5, np.float32))).all()


def test_dropout_along_axes_and_of_whole_channels():
    with ds.environ.context(fit=True):
        y = np.asarray(ds.nn.Dropout(0.5, broadcast_dims=(1,))(np.ones((50, 6))))
        assert (y == y[:, :1]).all() and 0 < y.mean() < 2
        y = np.asarray(ds.nn.Dropout2d(0.5)(np.ones((8, 4, 4, 9))))
        assert (y == y[:, :1, :1]).all() and len(np.unique(y[:, 0, 0], axis=0)) > 4
        y = np.asarray(ds.nn.Dropout1d(0.5, channel_axis=0)(np.ones((30, 4))))
        assert (y == y[:, :1]).all() and len(np.unique(y)) == 2


def test_a_fixed_mask_stays_until_it_is_drawn_again():
    layer = ds.nn.init_all_states(ds.nn.DropoutFixed((100,), 0.5), 3)
    x = np.ones((3, 100))
    with ds.environ.context(fit=True):
        one = layer(x)
        assert np.array_equal(one, layer(x))
        ds.nn.init_all_states(layer, 3)
        assert not np.array_equal(one, layer(x))
        with pytest.raises(ParameterError, match="init_all_states"):
            layer(np.ones((2, 100)))


NORMS = [
    ("BatchNorm0d", (5,), {}), ("BatchNorm1d", (4, 5), dict(momentum=0.5)), ("BatchNorm2d", (4, 3, 5), {}),
    ("BatchNorm2d", (4, 3, 5), dict(use_fast_variance=False, epsilon=0.1)), ("BatchNorm3d", (2, 4, 3, 5), {}),
    ("BatchNorm1d", (4, 5), dict(affine=False)),
    ("LayerNorm", (4, 5), {}), ("LayerNorm", (4, 5), dict(reduction_axes=(1, 2), use_bias=False)),
    ("LayerNorm", (4, 5), dict(feature_axes=(0, 1), use_fast_variance=False)), ("RMSNorm", (4, 5), {}),
    ("RMSNorm", (4, 5), dict(use_scale=False)),
]  # fmt: skip


@pytest.mark.parametrize("name, in_size, options", NORMS)
def test_a_normalisation_is_that_of_brainstate(name, in_size, options):
    bs = reference()
    ours, theirs = (getattr(nn, name)(in_size, **options) for nn in (ds.nn, bs.nn))
    given_weights(ours, theirs)
    x = 2 * numbers(6, *in_size) + 1
    for fit in (True, True, False):
        with ds.environ.context(fit=fit), bs.environ.context(fit=fit):
            assert close(ds.transform.jit(ours)(x), theirs(x))
            kinds = ours.states(ds.ParamState), theirs.states(bs.ParamState)
            if kinds[0]:
                found = ds.transform.grad(lambda: (ours(x) ** 3).sum(), kinds[0])()
                wanted = bs.transform.grad(lambda: (theirs(x) ** 3).sum(), kinds[1])()
                for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(dict(wanted)), strict=True):
                    assert np.allclose(a, b, rtol=1e-4, atol=1e-3)
        for path, state in theirs.states().items():
            for a, b in zip(jax.tree.leaves(ours.states()[path].value), jax.tree.leaves(state.value), strict=True):
                assert np.allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("shape", [(3, 8), (3, 5, 8), (3, 4, 5, 8)])
@pytest.mark.parametrize("groups", [dict(num_groups=4), dict(num_groups=None, group_size=2)])
def test_groups_are_normalised_each_by_itself(shape, groups):
    layer = ds.nn.GroupNorm(8, scale_init=numbers(8), bias_init=numbers(8), **groups)
    x = numbers(*shape)
    parts = np.split(x, 4, axis=-1)
    axes = tuple(range(1, x.ndim))
    parts = [(p - p.mean(axes, keepdims=True)) / np.sqrt(p.var(axes, keepdims=True) + 1e-6) for p in parts]
    weight = layer.weight.value
    assert np.allclose(layer(x), np.concatenate(parts, -1) * weight["scale"] + weight["bias"], atol=1e-4)
    if x.ndim == 2:
        theirs = reference().nn.GroupNorm((8,), **groups)
        theirs.weight.value = weight
        assert np.allclose(layer(x), theirs(x), atol=1e-4)


@pytest.mark.parametrize("affine", [True, False])
def test_a_batch_is_normalised_without_running_statistics(affine):
    layer = ds.nn.BatchNorm1d((4, 5), affine=affine, track_running_stats=False)
    x = 2 * numbers(6, 4, 5) + 1
    assert len(layer.states()) == affine
    assert np.allclose(layer(x), (x - x.mean((0, 1))) / np.sqrt(x.var((0, 1)) + 1e-5), atol=1e-4)


def test_features_in_front_and_masks():
    layer = ds.nn.BatchNorm2d((5, 4, 3), feature_axis=0)
    x = numbers(6, 5, 4, 3)
    with ds.environ.context(fit=True):
        y = layer(x)
        assert np.allclose(np.mean(y, (0, 2, 3)), 0, atol=1e-5) and np.allclose(np.var(y, (0, 2, 3)), 1, atol=1e-3)
        assert layer.running_mean.value.shape == (5, 1, 1)
        mask = np.arange(6)[:, None, None, None] < 4
        inside = ds.nn.BatchNorm2d((5, 4, 3), feature_axis=0)(x[:4])
        assert np.allclose(ds.nn.BatchNorm2d((5, 4, 3), feature_axis=0)(x, mask)[:4], inside, atol=1e-5)
        with pytest.raises(UnitError, match="without unit"):
            layer(x * u.mV)


def test_statistics_over_the_lanes_of_a_vmap():
    x = numbers(4, 6, 5)
    layer = ds.nn.BatchNorm0d(5, axis_name="lanes")
    with ds.environ.context(fit=True):
        found = ds.transform.vmap(layer, axis_name="lanes")(x)
        assert np.allclose(found, ds.nn.BatchNorm0d(5)(x.reshape(24, 5)).reshape(x.shape), atol=1e-5)


class Spiking(ds.Module):
    """A convolutional spiking network."""

    def __init__(self, channels=8):
        super().__init__()
        self.layers = ds.nn.Sequential(
            ds.nn.Conv2d((12, 12, 1), channels, 3), ds.nn.BatchNorm2d((12, 12, channels)),
            ds.nn.ReLU(), ds.nn.MaxPool2d(2), ds.nn.Dropout(0.9),
        )
        self.cells = ds.LIF((6, 6, channels), V_th=1 * u.mV, V_rest=0 * u.mV, V_reset=0 * u.mV, R=1 * u.ohm, tau=5 * u.ms,
                            V_initializer=ds.init.ZeroInit(u.mV))
        self.out = ds.nn.Sequential(ds.nn.Flatten(in_size=(6, 6, channels)), ds.nn.Linear(36 * channels, 10))

    def update(self, x):
        return self.out(self.cells(self.layers(x) * 5 * u.mA))


def trained(mesh, steps=3, batch=4):
    ds.random.seed(1)
    x = np.random.default_rng(0).normal(size=(steps, batch, 12, 12, 1)).astype(np.float32)
    with ds.use_mesh(**mesh), ds.environ.context(dt=1 * u.ms, fit=True):
        net = Spiking()
        ds.nn.init_all_states(net, batch)
        opt = ds.optim.Adam(1e-2)
        opt.register_trainable_weights(net.states(ds.ParamState))

        def loss():
            return (ds.transform.for_loop(net, x) ** 2).mean()

        @ds.transform.jit
        def step():
            grads, value = ds.transform.grad(loss, net.states(ds.ParamState), return_value=True)()
            opt.update(grads)
            return value

        values = [step() for _ in range(3)]
        return np.asarray(values), {path: jax.tree.map(np.asarray, s.value) for path, s in net.states(ds.ParamState).items()}


def test_a_convolutional_spiking_network_trains_the_same_on_any_mesh():
    values, weights = trained(dict(devices=1))
    assert values[-1] < values[0] and np.isfinite(values).all()
    for mesh in (dict(devices=2), dict(devices=3), dict(shape={"batch": 2, "neuron": 2})):
        others, found = trained(mesh)
        assert np.allclose(others, values, rtol=1e-5)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(weights), strict=True):
            assert np.allclose(a, b, rtol=1e-3, atol=1e-5)
