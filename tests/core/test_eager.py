"""Loops and branches outside of jit: the same program is compiled once and kept once, whatever function object it comes from."""

import gc
import weakref

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.core import Module, State, environ, transform
from dist_sim.core.transform import eager
from dist_sim.partition.mesh import use_mesh

compiled = [0]
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: compiled.__setitem__(0, compiled[0] + (event == "/jax/core/compile/backend_compile_duration"))
)


class Cells(Module):
    def __init__(self, size=64):
        super().__init__()
        self.lif, self.gain = ds.LIF(size, tau=10 * u.ms), 1.0
        self.total = State(jnp.zeros(()))
        ds.nn.init_all_states(self.lif)

    def update(self, i):
        with environ.context(i=i, dt=0.1 * u.ms):
            spikes = self.lif(25 * u.mA)
            self.total.value += self.gain
            return spikes.sum()


WAYS = {
    "for_loop": lambda net: transform.for_loop(net.update, jnp.arange(20)),
    "scan": lambda net: transform.scan(lambda c, i: (c + net.update(i), c), 0.0, jnp.arange(20)),
    "while_loop": lambda net: transform.while_loop(
        lambda c: c[0] < 20, lambda c: (c[0] + 1, c[1] + net.update(c[0])), (0, 0.0)
    ),
    "fori_loop": lambda net: transform.fori_loop(0, 20, lambda i, c: c + net.update(i), 0.0),
    "map": lambda net: transform.map(net.update, jnp.arange(20)),
    "checkpointed": lambda net: transform.checkpointed_for_loop(net.update, jnp.arange(20)),
    "bounded": lambda net: transform.bounded_while_loop(
        lambda c: c[0] < 20, lambda c: (c[0] + 1, c[1] + net.update(c[0])), (0, 0.0), max_steps=30
    ),
    "cond": lambda net: transform.cond(True, lambda: net.update(3), lambda: 0.0),
    "switch": lambda net: transform.switch(1, [lambda: 0.0, lambda: net.update(3)]),
    "bar": lambda net: transform.for_loop(net.update, jnp.arange(20), pbar=10),
    "checked": lambda net: transform.for_loop(checked(net), jnp.arange(20)),
    "drawing": lambda net: transform.for_loop(lambda i: net.update(i) + ds.random.poisson(2.0, 5).sum(), jnp.arange(20)),
}


def checked(net):
    def step(i):
        out = net.update(i)
        transform.jit_error_if(out < 0, "negative: {out}", out=out)
        return out

    return step


def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_one_program_is_compiled_in_the_first_call(way):
    net = Cells()
    way(net), way(net)
    before, last = compiled[0], net.total.value
    for _ in range(5):
        way(net)
    assert compiled[0] == before and float(net.total.value) > float(last)


def test_memory_is_flat_over_loops_with_and_without_jit():
    net = Cells()
    jitted = transform.jit(lambda i: transform.for_loop(net.update, i))
    for loop in (lambda: transform.for_loop(lambda i: net.update(i), jnp.arange(20)), lambda: jitted(jnp.arange(20))):
        for _ in range(20):
            loop()
        begin, programs = resident(), compiled[0]
        for _ in range(200):
            loop()
        assert compiled[0] == programs and resident() - begin < 8 * 2**20
    assert net.total.value == 20 * 440


def test_a_program_holds_no_model():
    net = Cells()
    transform.for_loop(net.update, jnp.arange(3))
    gone = weakref.ref(net.total)
    del net
    gc.collect()
    assert gone() is None


def test_another_model_of_the_same_kind_compiles_nothing():
    # As a scan of weights does it: a network per point.
    found = []
    for gain in range(3):
        net = Cells()
        net.total.value = jnp.float32(gain)
        before = compiled[0]
        transform.for_loop(net.update, jnp.arange(20))
        found.append((float(net.total.value), compiled[0] - before))
    assert found[1:] == [(21.0, 0), (22.0, 0)]


def test_what_changed_in_python_since_is_seen():
    net = Cells()
    transform.for_loop(net.update, jnp.arange(4))
    net.gain = 3.0
    transform.for_loop(net.update, jnp.arange(4))
    assert net.total.value == 4 + 12
    sums = [transform.for_loop(lambda i, a=a: i + a, jnp.arange(3)).tolist() for a in (np.arange(2.0), np.ones(2), np.ones(3))]
    assert sums == [[[0, 1], [1, 2], [2, 3]], [[1, 1], [2, 2], [3, 3]], [[1] * 3, [2] * 3, [3] * 3]]
    for value in (0.0, -0.0, 1, True, 1.0):
        assert str(transform.for_loop(lambda value=value: jnp.asarray(value), length=1)[0]) == str(jnp.asarray(value))


def test_derivatives_that_differ_are_no_matter_and_host_calls_are(capsys):
    seen = []

    def step(i, where):
        jax.debug.callback(lambda i: where.append(int(i)), i)
        return i

    for where in (seen, others := []):
        transform.for_loop(lambda i, where=where: step(i, where), jnp.arange(3))
        jax.effects_barrier()
    assert seen == others == [0, 1, 2]


def test_programs_of_a_mesh_are_compiled_once():
    with use_mesh(devices=2):
        net = Cells(300)
        first = np.array(transform.for_loop(net.update, jnp.arange(200)))
        ds.nn.init_all_states(net.lif)
        transform.for_loop(lambda i: net.update(i), jnp.arange(200))
        ds.nn.init_all_states(net.lif)
        before = compiled[0]
        again = transform.for_loop(lambda i: net.update(i), jnp.arange(200))
        assert compiled[0] == before
    alone = Cells(300)
    here = np.array(transform.for_loop(alone.update, jnp.arange(200)))
    assert here.sum() > 0 and (first == here).all() and (np.array(again) == here).all()


def test_only_the_last_programs_are_kept():
    for n in range(eager.PROGRAMS.most + 5):
        transform.for_loop(lambda i, n=n: i * n, jnp.arange(2))
    assert len(eager.PROGRAMS.values()) == eager.PROGRAMS.most
