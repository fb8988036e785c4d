"""`ds.resumable`: a training that is stopped between items, or killed, is the unbroken one."""

from __future__ import annotations

from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dist_sim as ds
from dist_sim.core import walk
from dist_sim.errors import OutputError, ParameterError
from dist_sim.run.checkpoint import CheckpointPolicy
from dist_sim.run.directory import RunDirectory
from dist_sim.run.session import Session
from dist_sim.run.stop import Stopped

from .checkpointed import StopAt, copied

EPOCHS = 8


class Net(ds.Module):
    """Input spikes drawn at random, spiking neurons, a readout."""

    def __init__(self):
        super().__init__()
        self.into = ds.nn.Linear(12, 20, w_init=ds.init.KaimingNormal(scale=40.0, unit=u.mA), b_init=None)
        self.cells = ds.LIF(20, V_th=1.0 * u.mV, tau=10 * u.ms, spk_fun=ds.surrogate.ReluGrad())
        self.out = ds.LeakyRateReadout(20, 3, tau=10 * u.ms)

    def update(self, rates):
        return self.out(self.cells(self.into((ds.random.uniform(0.0, 1.0, rates.shape) < rates).astype(rates.dtype))))


class Boom(Exception):
    pass


def train(epochs: int = EPOCHS, *, devices: int = 1, fails_after: int | None = None):
    """Losses by epoch, and the weights after the last."""
    ds.random.seed(1)
    with ds.use_mesh(devices=devices), ds.environ.context(dt=1 * u.ms):
        net, losses = ds.nn.init_all_states(Net()), ds.State(jnp.zeros(epochs), name="losses")
        opt = ds.optim.Adam(lr=1e-2)
        opt.register_trainable_weights(net.states(ds.ParamState))
        rates, wanted = jnp.linspace(0.1, 0.6, 12), jnp.array([1.0, 0.0, 0.5])

        @ds.transform.jit
        def epoch():
            ds.nn.reset_all_states(net)

            def loss():
                found = ds.transform.for_loop(lambda: net(rates), length=15)
                return ((found[-1] - wanted) ** 2).mean()

            gradients, value = ds.transform.grad(loss, net.states(ds.ParamState), return_value=True)()
            opt.update(gradients)
            return value

        for k in ds.resumable(range(epochs), net=net, opt=opt, losses=losses):
            if k == fails_after:
                raise Boom
            losses.value = losses.value.at[k].set(epoch())
        weights = jax.tree.leaves([s.value for s in net.states(ds.ParamState).values()])
        return np.asarray(losses.value), [np.asarray(w) for w in weights]


@pytest.fixture(scope="module")
def unbroken():
    losses, weights = train()
    assert losses[-1] < 0.9 * losses[0] and len(np.unique(losses)) == EPOCHS
    return losses, weights


def values_of(trees):
    """Of all States; of keys, their bits."""
    leaves = jax.tree.leaves([state.value for state in walk.states(trees).values()])
    return [np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x) for x in leaves]


def go(directory: RunDirectory, *, chunks: int = 10**9, every: float = 0.0, **options: Any):
    policy = CheckpointPolicy(every=every, keep_last=3)
    session: Any = Session(directory=directory, checkpoints=policy, stop=StopAt(chunks))  # pyright: ignore
    with session.active():
        try:
            return train(**options)
        except (Stopped, Boom):
            return None
        finally:
            directory.close()


def assert_same(found, wanted, exact: bool):
    for a, b in zip([found[0], *found[1]], [wanted[0], *wanted[1]], strict=True):
        if exact:
            np.testing.assert_array_equal(a, b)
        else:  # sums of gradients are taken in another order
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("chunks", [1, 4, 7])
def test_stopped_it_goes_on_bit_by_bit(tmp_path, unbroken, chunks):
    assert go(RunDirectory(tmp_path / "run"), chunks=chunks, every=float("inf")) is None
    found = go(RunDirectory.resume(tmp_path / "run"))
    assert found is not None
    assert_same(found, unbroken, exact=True)


def test_on_other_devices_too(tmp_path, unbroken):
    assert go(RunDirectory(tmp_path / "run"), chunks=3, devices=2) is None
    for devices in (1, 4):
        assert_same(go(copied(tmp_path / "run", tmp_path / f"on-{devices}"), devices=devices), unbroken, exact=False)


def test_what_fails_goes_on_from_the_last_checkpoint(tmp_path, unbroken):
    assert go(RunDirectory(tmp_path / "run"), fails_after=5) is None
    assert_same(go(RunDirectory.resume(tmp_path / "run")), unbroken, exact=True)


def test_a_training_that_is_done_is_not_done_again(tmp_path, unbroken):
    assert_same(go(RunDirectory(tmp_path / "run")), unbroken, exact=True)
    assert_same(go(RunDirectory.resume(tmp_path / "run"), fails_after=0), unbroken, exact=True)


def test_another_training_is_refused(tmp_path):
    assert go(RunDirectory(tmp_path / "run"), chunks=2) is None
    with pytest.raises(ParameterError, match=r"losses: State 'losses'\(float32\[8\]\) then, .*\(float32\[9\]\) now"):
        go(RunDirectory.resume(tmp_path / "run"), epochs=9)


def test_without_a_run_directory_it_is_a_loop():
    state = ds.State(jnp.zeros(2))
    assert list(ds.resumable("abc", state=state)) == ["a", "b", "c"]
    with pytest.raises(ParameterError, match="array=ndarray.*holds no State"):
        ds.resumable("abc", array=np.zeros(2))


def test_by_hand(tmp_path):
    """A tree of all kinds, written on one mesh and read on others; the newest stays, and is whole or absent."""

    def trees(devices: int, seed: float):
        with ds.use_mesh(devices=devices):
            random = ds.random.RandomState(int(seed))
            cells = ds.nn.init_all_states(ds.LIF(37, V_initializer=ds.init.Constant(seed * u.mV)))
            return {"cells": cells, "more": [{"w": ds.ParamState({"a": jnp.full(3, seed) * u.nS, "n": jnp.int32(seed)})}, random]}

    for seed in (1, 2):
        ds.checkpoint.save(tmp_path / "saved", **trees(2, seed))
    assert len(list((tmp_path / "saved").iterdir())) == 1
    for devices in (1, 3):
        found, wanted = trees(devices, 7), trees(devices, 2)
        ds.checkpoint.restore(tmp_path / "saved", **found)
        for a, b in zip(values_of(found), values_of(wanted), strict=True):
            np.testing.assert_array_equal(a, b)
    with pytest.raises(ParameterError, match="cells.V: .* then, nothing now"):
        ds.checkpoint.restore(tmp_path / "saved", more=trees(1, 2)["more"])
    with pytest.raises(OutputError, match="holds no sound checkpoint"):
        ds.checkpoint.restore(tmp_path / "elsewhere", **trees(1, 2))


def test_a_flipped_bit_is_noticed(tmp_path):
    state = ds.State(jnp.arange(1000.0))
    ds.checkpoint.save(tmp_path / "saved", state=state)
    files = [p for p in (tmp_path / "saved").rglob("*") if p.is_file() and "state" in p.parts]
    largest = max(files, key=lambda p: p.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 4
    largest.write_bytes(content)
    with pytest.raises(OutputError, match="no sound checkpoint"):
        ds.checkpoint.restore(tmp_path / "saved", state=state)
