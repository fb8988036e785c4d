"""Parameters that are read through a transform: transforms and regularisers beside brainstate's, and training them."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.errors import ParameterError

FREE = np.linspace(-3.0, 3.0, 7).astype(np.float32)
TRANSFORMS = {
    "IdentityT": ((), FREE), "SigmoidT": ((-1.0, 2.0), FREE), "TanhT": ((-1.0, 2.0), FREE), "SoftsignT": ((-1.0, 2.0), FREE),
    "ScaledSigmoidT": ((-1.0, 2.0, 0.7), FREE), "SoftplusT": ((0.5,), FREE), "NegSoftplusT": ((0.5,), FREE),
    "LogT": ((0.5,), FREE), "ExpT": ((0.5,), FREE), "PositiveT": ((), FREE), "NegativeT": ((), FREE),
    "ReluT": ((0.5,), np.abs(FREE)),
    "ClipT": ((-1.0, 2.0), np.clip(FREE, -1, 2)), "AffineT": ((2.0, -1.0), FREE), "PowerT": ((0.3,), np.exp(FREE)),
    "OrderedT": ((), FREE), "SimplexT": ((), FREE), "UnitVectorT": ((), FREE / np.linalg.norm(FREE)),
}  # fmt: skip


def reference():
    return pytest.importorskip("brainstate")


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_is_that_of_brainstate(name):
    given, x = TRANSFORMS[name]
    ours, theirs = (getattr(nn, name)(*given) for nn in (ds.nn, reference().nn))
    y = theirs.forward(x)
    assert np.allclose(ours(x), y, rtol=1e-5, atol=1e-6)
    assert np.allclose(ours.inverse(y), x, rtol=1e-3, atol=1e-4)
    both = [jax.grad(lambda x, t=t: (t.forward(x) ** 2).sum())(x) for t in (ours, theirs)]
    assert np.allclose(*both, rtol=1e-4, atol=1e-5)
    try:
        wanted = theirs.log_abs_det_jacobian(x, y)
    except NotImplementedError:
        return
    assert np.allclose(ours.log_abs_det_jacobian(x, y), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["TanhT", "SoftsignT", "NegSoftplusT", "PowerT"])
def test_the_jacobian_is_the_derivative(name):
    given, x = TRANSFORMS[name]
    transform = getattr(ds.nn, name)(*given)
    slope = np.diagonal(jax.jacobian(transform.forward)(x))
    assert np.allclose(transform.log_abs_det_jacobian(x, transform(x)), np.log(np.abs(slope)).sum(), atol=1e-4)


def test_transforms_of_transforms():
    bs = reference()
    mask = FREE > 0
    both = []
    for nn in (ds.nn, bs.nn):
        chain = nn.ChainT(nn.AffineT(2.0, 1.0), nn.SoftplusT(0.5))
        both.append((chain, nn.MaskedT(mask, nn.SoftplusT(0.0))))
    for ours, theirs in zip(*both, strict=True):
        y = theirs.forward(FREE)
        assert np.allclose(ours(FREE), y, rtol=1e-5) and np.allclose(ours.inverse(y), FREE, atol=1e-3)
    ours, theirs = (chain.log_abs_det_jacobian(FREE, None) for chain, _ in both)
    assert np.allclose(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda nn: nn.SoftplusT(1.0 * u.ms), lambda nn: nn.SigmoidT(1.0 * u.ms, 0.02 * u.second), lambda nn: nn.ExpT(0.0 * u.ms),
        lambda nn: nn.NegSoftplusT(50.0 * u.ms), lambda nn: nn.ClipT(1 * u.ms, 20 * u.ms), lambda nn: nn.IdentityT(),
        lambda nn: nn.TanhT(1.0 * u.ms, 20.0 * u.ms),
        lambda nn: nn.ChainT(nn.IdentityT(), nn.ScaledSigmoidT(1 * u.ms, 20 * u.ms)),
    ],
)  # fmt: skip
def test_bounds_may_have_units(make):
    param = ds.nn.Param(10.0 * u.ms, t=make(ds.nn))
    assert u.math.isclose(param.value(), 10.0 * u.ms, rtol=1e-5)
    param.set_value(0.012 * u.second)
    assert u.math.isclose(param.value(), 12.0 * u.ms, rtol=1e-5)


REGULARISERS = {
    "L1Reg": (0.3,), "L2Reg": (0.3,), "ElasticNetReg": (0.3, 0.2, 0.4), "HuberReg": (0.3, 0.7), "GroupLassoReg": (0.3, 2),
    "TotalVariationReg": (0.3, 2), "MaxNormReg": (0.3, 0.7), "GaussianReg": (0.4, 2.0, 0.3), "StudentTReg": (0.3, 3.0, 1.5),
    "CauchyReg": (0.3, 1.5), "UniformReg": (0.3, 0.5, 1.0), "LogNormalReg": (0.3, 0.2, 0.7), "ExponentialReg": (0.3, 1.5),
    "GammaReg": (0.3, 2.5, 1.5), "BetaReg": (0.3, 2.5, 1.5),
}  # fmt: skip


@pytest.mark.parametrize("name", REGULARISERS)
@pytest.mark.parametrize("fit_hyper", [False, True])
def test_a_regulariser_is_that_of_brainstate(name, fit_hyper):
    x = np.random.default_rng(0).uniform(0.1, 0.9, (3, 5)).astype(np.float32)
    ours, theirs = (getattr(nn, name)(*REGULARISERS[name], fit_hyper=fit_hyper) for nn in (ds.nn, reference().nn))
    assert np.allclose(ours.loss(x), theirs.loss(x), rtol=1e-4)
    both = [jax.grad(lambda x, r=r: r.loss(x))(x) for r in (ours, theirs)]
    assert np.allclose(*both, rtol=1e-3, atol=1e-5)
    assert np.allclose(ours.reset_value(), theirs.reset_value(), rtol=1e-5)
    assert np.shape(ours.sample_init((4, 3))) == (4, 3) and np.isfinite(ours.sample_init((4, 3))).all()
    assert len(ours.states(ds.ParamState)) == len(theirs.states(reference().ParamState))


def test_regularisers_together():
    both = [nn.ChainedReg(nn.L1Reg(0.1), nn.L2Reg(0.2), weight=2.0) for nn in (ds.nn, reference().nn)]
    assert np.isclose(*(reg.loss(FREE) for reg in both))
    assert np.shape(both[0].sample_init((3,))) == (3,)


class Line(ds.Module):
    def __init__(self, nn=ds.nn):
        super().__init__()
        self.slope = nn.Param(jnp.array([0.5, 1.0]), t=nn.SoftplusT(0.0), reg=nn.L2Reg(0.1))
        self.offset = nn.Param(0.3, reg=nn.L1Reg(0.2), precompute=lambda x: 2 * x)
        self.fixed = nn.Const(2.0, reg=nn.L2Reg(5.0))

    def update(self, x):
        return self.slope.value() * x + self.offset.value() * self.fixed.value()


def test_a_param_is_trained_without_leaving_its_range():
    net = Line()
    optimizer = ds.optim.Adam(0.05)
    optimizer.register_trainable_weights(net.states(ds.ParamState))
    assert set(net.states(ds.ParamState)) == {("slope", "val"), ("offset", "val")}

    @ds.transform.jit
    def step():
        grads, loss = ds.transform.grad(
            lambda: ((net(1.0) + 5.0) ** 2).sum() + net.reg_loss(), net.states(ds.ParamState), return_value=True
        )()
        optimizer.update(grads)
        return loss

    losses = [step() for _ in range(300)]
    assert losses[-1] < losses[0] / 5
    assert (net.slope.value() > 0).all() and net.offset.value() < -1 and net.fixed.value() == 2.0


def test_the_loss_of_regularisers_and_the_parameters_of_a_tree():
    net = Line()
    assert np.isclose(net.reg_loss(), 0.1 * (0.25 + 1.0) + 0.2 * 0.6)
    assert [name for name, _ in net.named_param_modules()] == ["slope", "offset", "fixed"]
    assert list(net.param_modules()) == [net.slope, net.offset, net.fixed]
    assert ds.nn.Linear(2, 3).reg_loss() == 0.0


def test_it_goes_wherever_a_model_takes_a_parameter():
    tau = ds.nn.Param(np.full(4, 10.0) * u.ms, t=ds.nn.SoftplusT(1.0 * u.ms), reg=ds.nn.L2Reg(1e-3 * u.ms**-2))
    rest = dict(V_rest=0 * u.mV, V_th=20 * u.mV, V_initializer=ds.init.Constant(10 * u.mV))
    cells = ds.nn.init_all_states(ds.LIF(4, tau=tau, **rest))
    assert cells.tau is not tau and u.math.allclose(cells.tau, 10 * u.ms)
    assert ("tau", "val") in cells.states(ds.ParamState) and np.isclose(cells.reg_loss(), 0.4)

    bare = ds.nn.init_all_states(ds.LIF(4, tau=ds.ParamState(np.full(4, 10.0) * u.ms), **rest))

    def gradient_of(model):
        def loss():
            ds.nn.reset_all_states(model)
            with ds.environ.context(dt=0.1 * u.ms):
                ds.transform.for_loop(lambda _: model(0 * u.mA), jnp.arange(20))
            return u.math.sum(model.V.value / u.mV)

        return next(iter(ds.transform.grad(loss, model.states(ds.ParamState))().values()))

    gradient, other = gradient_of(cells), gradient_of(bare)
    assert np.allclose(gradient, u.get_mantissa(other) * (1.0 - np.exp(-9.0)), rtol=1e-4) and (gradient > 0.01).all()
    tau.set_value(np.full(4, 5.0) * u.ms)
    assert u.math.allclose(cells.tau, 5 * u.ms)
    with pytest.raises(ParameterError, match="has shape"):
        ds.LIF(3, tau=tau)


def test_a_kept_value_is_never_a_stale_one():
    net = Line()
    with net.param_precompute():
        assert net.slope.cache_stats == {"valid": True, "has_cached_value": True}
        assert net.slope.value() is net.slope.value()
        net.slope.val.value = jnp.array([1.0, 2.0])
        assert np.allclose(net.slope.value(), jax.nn.softplus(jnp.array([1.0, 2.0]))) and not net.slope.cache_stats["valid"]
        gradient = ds.transform.grad(lambda: net.slope.value().sum(), net.slope.states(ds.ParamState))()["val",]
        assert np.allclose(gradient, jax.nn.sigmoid(jnp.array([1.0, 2.0])))
    assert net.slope.cache_stats == {"valid": False, "has_cached_value": False}


def test_it_is_set_clipped_and_reset():
    param = ds.nn.Param(np.full(3, 2.0), t=ds.nn.SoftplusT(0.0), reg=ds.nn.GaussianReg(1.5, 1.0))
    param.clip(0.5, 1.0)
    assert np.allclose(param.value(), 1.0)
    param.reset_to_prior()
    assert param.value().shape == (3,) and np.allclose(param.value(), 1.5)


def test_a_parameter_from_whatever_it_is_given_by():
    assert ds.nn.Param.init(None) is None
    param = ds.nn.Param(2.0)
    assert ds.nn.Param.init(param, 3) is param
    const = ds.nn.Param.init(3.0 * u.mV, (4,))
    assert isinstance(const, ds.nn.Const) and const.value() == 3.0 * u.mV
    assert ds.nn.Param.init(ds.init.Constant(1.0), (4,)).value().shape == (4,)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ds.nn.Param(-1.0, t=ds.nn.SoftplusT(0.0)), r"lies outside of what SoftplusT\(lower=0.0\) gives"),
        (lambda: ds.nn.Param(5.0, t=ds.nn.SigmoidT(0.0, 1.0)), "lies outside"),
        (lambda: ds.nn.Param(5.0 * u.mV, t=ds.nn.SoftplusT(0.0 * u.ms)), "has not the unit"),
        (lambda: ds.nn.Param(5.0, t=abs), "needs a transform"),
        (lambda: ds.nn.Param(5.0, reg=0.1), "needs a regulariser"),
        (lambda: ds.nn.Param(5.0, precompute=3), "needs a function"),
        (lambda: ds.nn.Const(5.0, fit=True), "take nn.Param"),
        (lambda: ds.nn.SigmoidT(1.0, 0.0), "lower must be below upper"),
        (lambda: ds.nn.AffineT(0.0, 1.0), "not 0"),
        (lambda: ds.nn.ScaledSigmoidT(0.0, 1.0, beta=0.0), "above 0"),
        (lambda: ds.nn.Param.init(None, allow_none=False), "needs numbers"),
        (lambda: ds.nn.Param.init(np.ones(3), 4), "broadcasts to"),
        (lambda: ds.nn.GroupLassoReg(group_size=0), "at least 1"),
        (lambda: ds.nn.TotalVariationReg(order=3), "1 and 2"),
    ],
)
def test_what_does_not_fit_is_refused(make, says):
    with pytest.raises(ParameterError, match=says):
        make()


@pytest.mark.parametrize("devices", [1, 3])
def test_a_model_with_params_is_taken_apart_and_lies_on_a_mesh(devices):
    with ds.use_mesh(devices=devices):
        net = Line()
        copy = ds.graph.clone(net)
        copy.slope.set_value(np.array([3.0, 4.0]))
        assert np.allclose(net.slope.value(), [0.5, 1.0]) and np.allclose(copy(1.0), [4.2, 5.2])
