"""The unit of a conductance follows that of the weights; what makes no current is refused in one sentence."""

import brainunit as u
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.core import environ, init_all_states, transform
from dist_sim.errors import UnitError
from dist_sim.models import synapses

SIZE = 10
SYNAPSES = [x for x in vars(synapses).values() if isinstance(x, type) and issubclass(x, ds.Synapse) and x is not ds.Synapse]
# What the weights are multiplied by to be a current, and in which of the units it is one.
OUTPUTS = {
    "COBA": (lambda: ds.COBA.desc(E=0 * u.mV), "conductance"),
    "CUBA": (lambda: ds.CUBA.desc(), "conductance"),
    "CUBA in mV": (lambda: ds.CUBA.desc(scale=u.mV), "conductance"),
    "CUBA without unit": (lambda: ds.CUBA.desc(scale=u.UNITLESS), "current"),
    "CUBA in mA": (lambda: ds.CUBA.desc(scale=u.mA), "number"),
    "MgBlock": (lambda: ds.MgBlock.desc(), "conductance"),
}  # fmt: skip
UNITS = {
    "mS": (u.mS, "conductance"), "nS": (u.nS, "conductance"), "pA": (u.pA, "current"),
    "no unit": (u.UNITLESS, "number"), "mV": (u.mV, "voltage"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def clock():
    with environ.context(dt=0.1 * u.ms):
        yield


def cells():
    return ds.LIF(SIZE, R=1 * u.Gohm, V_rest=-60 * u.mV, V_reset=-60 * u.mV, V_th=1e9 * u.mV, V_initializer=-60 * u.mV)


def weights(unit, value=1.0):
    return ds.nn.EventFixedProb(SIZE, SIZE, conn_num=0.5, conn_weight=u.maybe_decimal(value * unit), seed=3)


def by_source(syn, out, comm, **given):
    post = cells()
    return ds.align_pre_projection(syn=syn.desc(SIZE, **given), comm=comm, out=out(), post=post), post


def by_target(syn, out, comm, **given):
    post = cells()
    return ds.align_post_projection(syn=syn.desc(SIZE, **given), comm=comm, out=out(), post=post), post


class Fetched(ds.Module):
    """The conductance of a synapse that the sources run themselves."""

    def __init__(self, syn, out, comm, post, **given):
        super().__init__()
        self.pre = ds.Izhikevich(SIZE)
        self.pre.get_spike = self.pre.update = lambda x: x
        self.syn = self.pre.align_pre(syn.desc(**given))
        self.proj = ds.CurrentProj(self.syn.prefetch("g"), comm=comm, out=out(), post=post)

    def update(self, spikes):
        self.pre(spikes)
        self.proj()


def fetched(syn, out, comm, **given):
    post = cells()
    return Fetched(syn, out, comm, post, **given), post


def jump(proj, post):
    """How far the potentials are from rest after some steps with spikes, mV."""
    init_all_states(proj)
    init_all_states(post)

    def step(x):
        proj(x)
        post(0 * u.mA)
        return post.V.value.to_decimal(u.mV)

    return np.asarray(transform.for_loop(step, jnp.ones((4, SIZE), bool)))[-1] + 60.0


CASES = [(by_source, syn) for syn in SYNAPSES] + [(by_target, syn) for syn in SYNAPSES if syn.is_align_post]
CASES += [(fetched, syn) for syn in SYNAPSES if syn is not ds.DualExpon]
# Of those without unit, and in mV, a conductance of the sources is in mS, as in brainpy.state.
IN_MILLISIEMENS = {("number", "conductance"), ("voltage", "current")}


@pytest.mark.parametrize(("kind", "syn"), CASES, ids=lambda x: x.__name__)
@pytest.mark.parametrize("out", OUTPUTS)
def test_weights_are_taken_in_any_unit_that_makes_a_current(kind, syn, out):
    """With one the conductance follows it, whatever the scale; without, one sentence says what is needed."""
    made, wanted = OUTPUTS[out]
    found = {}
    for name, (unit, what) in UNITS.items():
        # That of NMDA is a part, without unit, also by itself.
        meant = what == wanted or (kind is not by_target and syn is not ds.NMDA and (what, wanted) in IN_MILLISIEMENS)
        if not meant:
            with pytest.raises(UnitError, match="LIF takes a current") as caught:
                kind(syn, made, weights(unit))
            text = str(caught.value)
            assert text.count("\n") == 0 and len(text) < 260 and "^" not in text
        elif what == "conductance":
            found[name] = jump(*kind(syn, made, weights(unit, {"mS": 1e-6, "nS": 1.0}[name])))
        else:
            assert jump(*kind(syn, made, weights(unit))).any()
    if wanted == "conductance":
        assert found["nS"].any() and all(np.allclose(found["nS"], x, rtol=1e-4) for x in found.values())


@pytest.mark.parametrize(("kind", "syn"), CASES, ids=lambda x: x.__name__)
def test_a_given_start_says_the_unit(kind, syn):
    out, by_itself = OUTPUTS["COBA"][0], jump(*kind(syn, OUTPUTS["COBA"][0], weights(u.nS)))
    start = ds.init.Constant(0.0 * u.mS if kind is by_target else 0.0)
    assert by_itself.any() and np.allclose(by_itself, jump(*kind(syn, out, weights(u.nS), g_initializer=start)), rtol=1e-4)
    wrong = ds.init.Constant(0.0 if kind is by_target else 0.0 * u.mS)
    message = "leave g_initializer out" if kind is by_target else f"times {syn.__name__} in mS, as its g_initializer says"
    with pytest.raises(UnitError, match=message):
        kind(syn, out, weights(u.nS), g_initializer=wrong)


def test_projections_that_share_a_synapse_share_its_unit():
    post = cells()
    made = [
        ds.AlignPostProj(syn=ds.Expon.desc(SIZE), comm=weights(unit), out=ds.COBA.desc(E=0 * u.mV), post=post)
        for unit in (u.nS, u.mS)
    ]
    assert made[0].syn is made[1].syn and made[0].syn.unit == u.nS
    with pytest.raises(UnitError, match="or by the weights of a projection that shares it"):
        ds.AlignPostProj(syn=ds.Expon.desc(SIZE), comm=weights(u.mA), out=ds.COBA.desc(E=0 * u.mV), post=post)


def test_a_synapse_that_has_run_keeps_its_unit():
    """What has been recorded or learned in it stays what it is."""
    syn = init_all_states(ds.Expon(SIZE))
    assert syn.unit == u.mS
    made = ds.AlignPostProj(syn=syn, comm=weights(u.nS), out=ds.COBA(E=0 * u.mV), post=cells())
    assert made.syn.unit == u.mS == u.get_unit(syn.g.value)
