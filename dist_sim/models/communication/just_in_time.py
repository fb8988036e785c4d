from __future__ import annotations

import math
from typing import Any, final

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from dist_sim.core import LongTermState, Module, ParamState, State, random
from dist_sim.errors import ParameterError
from dist_sim.kernels.philox import philox4x32, split_key, uniform_index
from dist_sim.models.communication.fixed_num_conn import number_of
from dist_sim.models.dynamics import shape_of
from dist_sim.models.init import Normal, Uniform


@final
class JITFixedNumConn(Module):
    """Connections that are never stored: each target has the same number of sources, drawn anew whenever they are needed.

    The memory is that of the targets; the work of a step follows all connections, not the spikes. Take it where
    :class:`EventFixedNumConn` does not fit. Connections are functions of (seed, target, slot), and sums are taken in order of the
    slots: both are the same on any mesh. Can be differentiated, by the weights too, and draws once more on the way back.

    Args:
        in_size, out_size: numbers of sources and targets, or shapes.
        conn_num: sources of each target, with replacement: a whole number, or a float in [0, 1], that part of all sources.
        conn_weight: one number or quantity for all connections; or `ds.init.Uniform` or `ds.init.Normal`, whose bounds or moments
            are then what is trained.
        seed: of the connections; None takes one from `ds.random`.
        name: of the Module.
        param_type: the State that holds the weights: `ParamState` to train them.

    States: weight, a number; or a dict of "loc" and "scale", which a standard draw is moved and scaled by; ids (targets,) uint32.
    Raises: ParameterError: a number out of bounds, another initialiser.
    Source: the idea is that of Lytton et al. (2008), doi:10.1162/neco.2008.10-07-622, and of brainevent's JITC matrices.
    """

    def __init__(
        self,
        in_size: int | tuple[int, ...],
        out_size: int | tuple[int, ...],
        conn_num: int | float,
        conn_weight: Any,
        seed: int | None = None,
        name: str | None = None,
        param_type: type[State] = ParamState,
    ) -> None:
        super().__init__(name)
        where = "JITFixedNumConn"
        self.in_size = shape_of(in_size, f"{where}(in_size={in_size!r})")
        self.out_size = shape_of(out_size, f"{where}(out_size={out_size!r})")
        self.conn_num = number_of(conn_num, math.prod(self.in_size), where)
        self.seed = int(random.randint(2**31 - 1)) if seed is None else seed
        self.ids = LongTermState(jnp.arange(math.prod(self.out_size), dtype=jnp.uint32), axes=("neuron",))
        self._normal = isinstance(conn_weight, Normal)
        if isinstance(conn_weight, Normal):
            conn_weight = {"loc": conn_weight.mean, "scale": conn_weight.std}
        elif isinstance(conn_weight, Uniform):
            conn_weight = {"loc": conn_weight.low, "scale": conn_weight.high - conn_weight.low}
        elif callable(conn_weight) or u.math.ndim(conn_weight.value if isinstance(conn_weight, State) else conn_weight):
            raise ParameterError(
                f"{where}(conn_weight={conn_weight!r:.60}): needs one number, ds.init.Uniform or ds.init.Normal."
            )
        floats = {k: _float(x) for k, x in conn_weight.items()} if isinstance(conn_weight, dict) else None
        if isinstance(conn_weight, State):
            self.weight = conn_weight
        else:
            self.weight = param_type(_float(conn_weight) if floats is None else floats, axes=())

    def update(self, spikes: jax.Array) -> Any:
        """What arrives: (..., *out_size), in the unit of the weights. `spikes`: (..., *in_size) booleans or numbers."""
        if spikes.shape[spikes.ndim - len(self.in_size) :] != self.in_size:
            raise ParameterError(f"JITFixedNumConn: spikes have the shape {spikes.shape}; needs (..., *{self.in_size}).")
        lead = spikes.shape[: spikes.ndim - len(self.in_size)]
        weight = self.weight.value
        parts = weight if isinstance(weight, dict) else {"loc": weight}
        unit = u.get_unit(parts["loc"])
        bare = {k: x.to_decimal(unit) if isinstance(x, u.Quantity) else x for k, x in parts.items()}
        sent = jnp.asarray(spikes).reshape(*lead, -1).astype(jnp.result_type(bare["loc"], float))
        key0, key1 = split_key(self.seed)
        ids = self.ids.value

        @jax.checkpoint
        def one_slot(sums: jax.Array, slot: jax.Array) -> tuple[jax.Array, None]:
            words = philox4x32(np.uint32(key0), np.uint32(key1), ids, jnp.uint32(0), slot, jnp.uint32(_STREAM))
            source = uniform_index(jnp, words[0], words[1], np.uint32(sent.shape[-1]))
            arrives = sent.at[..., source].get(mode="promise_in_bounds")
            if "scale" in bare:
                part = ((words[2] >> 9).astype(sent.dtype) + 0.5) * 2.0**-23
                drawn = math.sqrt(2.0) * jax.lax.erf_inv(2.0 * part - 1.0) if self._normal else part
                arrives = arrives * (bare["loc"] + bare["scale"] * drawn)
            return sums + arrives, None

        start = jnp.zeros((*lead, ids.shape[0]), sent.dtype)
        sums, _ = jax.lax.scan(one_slot, start, jnp.arange(self.conn_num, dtype=jnp.uint32))
        sums = sums if "scale" in bare else sums * bare["loc"]
        return u.maybe_decimal(u.Quantity(sums.reshape(*lead, *self.out_size), unit=unit))


_STREAM = 0x4A495443  # other draws from this seed do not meet these


def _float(x: Any) -> Any:
    return u.maybe_decimal(u.Quantity(jnp.asarray(u.get_mantissa(x), float), unit=u.get_unit(x)))
