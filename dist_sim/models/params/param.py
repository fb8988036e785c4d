"""A parameter that is read through a transform and trained without bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brainunit as u
import numpy as np

from dist_sim.core import ParamModule, ParamState, State, environ
from dist_sim.core.trace import has_tracer
from dist_sim.errors import ParameterError
from dist_sim.models.dynamics import shape_of
from dist_sim.models.params.regularization import Regularization
from dist_sim.models.params.transform import IdentityT, Transform


class Param(ParamModule):
    """A parameter: :meth:`value` is the transform of free numbers, which an optimizer moves without leaving its range.

        tau = ds.nn.Param(10 * u.ms, t=ds.nn.SoftplusT(1 * u.ms), reg=ds.nn.GaussianReg(10 * u.ms, 3 * u.ms))
        cells = ds.LIF(100, tau=tau)                     # tau is above 1 ms, however it is trained
        loss = error + net.reg_loss()

    It goes wherever a neuron, synapse or other model takes a parameter.

    Args:
        value: the first value of the parameter, with its unit.
        t: the transform.
        reg: a regulariser of the value, or None.
        precompute: a function of the value; what it gives is read in its place.
        fit: the free numbers are a ParamState, to be trained; else a State.
        enable_cache_logging: of brainstate; there is nothing to log here.

    States: val, the free numbers.
    Raises: ParameterError: a value that the transform does not give, or no transform, regulariser or function.
    Source: names and defaults are those of brainstate 0.5.
    """

    def __init__(
        self,
        value: Any,
        t: Transform = IdentityT(),
        reg: Regularization | None = None,
        precompute: Callable[[Any], Any] | None = None,
        fit: bool = True,
        enable_cache_logging: bool = False,
    ) -> None:
        super().__init__()
        where = type(self).__name__
        if not isinstance(t, Transform):
            raise ParameterError(f"nn.{where}(t={t!r:.60}): needs a transform, such as ds.nn.SoftplusT(0 * u.ms).")
        if not (reg is None or isinstance(reg, Regularization)):
            raise ParameterError(f"nn.{where}(reg={reg!r:.60}): needs a regulariser, such as ds.nn.L2Reg(0.1), or None.")
        if not (precompute is None or callable(precompute)):
            raise ParameterError(f"nn.{where}(precompute={precompute!r:.60}): needs a function of the value, or None.")
        self.t, self.reg, self.precompute, self.fit = t, reg, precompute, bool(fit)
        self.val = (ParamState if fit else State)(self._free(u.math.asarray(value, dtype=environ.dftype())))
        self._cached: tuple[Any, Any] | None = None

    def value(self) -> Any:
        """The value: the transform of the free numbers, and `precompute` of that."""
        free = self.val.value
        # Of other free numbers, such as those of a trace, the value is another one.
        if self._cached is not None and self._cached[0] is free:
            return self._cached[1]
        value = self.t.forward(free)
        return value if self.precompute is None else self.precompute(value)

    def set_value(self, value: Any) -> None:
        """Replaces the value, before `precompute`.

        Raises:
            ParameterError: one that the transform does not give.
            StateValueError: another shape or unit.
        """
        self.clear_cache()
        free, unit = self._free(u.math.asarray(value, dtype=environ.dftype())), u.get_unit(self.val.value)
        self.val.value = free.in_unit(unit) if isinstance(free, u.Quantity) and u.have_same_dim(free, unit) else free

    def cache(self) -> Any:
        """Computes the value and keeps it until the free numbers change, or :meth:`clear_cache`."""
        self._cached = None
        value = self.value()
        self._cached = self.val.value, value
        return value

    def clear_cache(self) -> None:
        """Forgets what :meth:`cache` has kept."""
        self._cached = None

    @property
    def cache_stats(self) -> dict[str, bool]:
        """Whether a value is kept, and whether it is the present one."""
        cached = self._cached
        return {"valid": cached is not None and cached[0] is self.val.value, "has_cached_value": cached is not None}

    def reg_loss(self) -> Any:
        """What the regulariser adds to a loss: 0 where there is none, or where the parameter is not trained."""
        return self.reg.loss(self.value()) if self.fit and self.reg is not None else 0.0

    def reset_to_prior(self) -> None:
        """Sets the value to the likeliest one of the regulariser, where there is one."""
        if self.reg is not None:
            self.set_value(u.math.broadcast_to(self.reg.reset_value(), u.math.shape(self.t.forward(self.val.value))))

    def clip(self, min_val: Any = None, max_val: Any = None) -> None:
        """Sets the value to what lies between two bounds, in its unit."""
        self.set_value(u.math.clip(self.t.forward(self.val.value), min_val, max_val))

    @classmethod
    def init(cls, data: Any, sizes: Any = None, allow_none: bool = True, **param_kwargs: Any) -> Any:
        """A parameter from whatever it is given by: a Param as it is; numbers, or an initialiser called with `sizes`, as a Const.

        Args:
            sizes: the shape that the value must broadcast to.
            allow_none: None stays None.
            param_kwargs: handed to the initialiser.

        Raises:
            ParameterError: None, no numbers, or another shape.
        """
        shape = None if sizes is None else shape_of(sizes, f"Param.init(sizes={sizes!r})")
        if data is None:
            if allow_none:
                return None
            raise ParameterError("Param.init(None): needs numbers, an initialiser or a Param.")
        if not isinstance(data, Param):
            if callable(data):
                if shape is None:
                    raise ParameterError("Param.init: an initialiser needs sizes.")
                data = data(shape, **param_kwargs)
            data = Const(data)
        found = u.math.shape(data.value())
        if shape is not None and not all(a in (1, b) or b == 1 for a, b in zip(found[::-1], shape[::-1], strict=False)):
            raise ParameterError(f"Param.init: the value has the shape {found}; needs one that broadcasts to {shape}.")
        return data

    def _free(self, value: Any) -> Any:
        try:
            free = self.t.inverse(value)
        except (TypeError, u.UnitMismatchError) as error:
            raise ParameterError(
                f"nn.{type(self).__name__}(value={value}): has not the unit that {self.t} gives: {error}"
            ) from None
        if not has_tracer(free) and not np.isfinite(np.asarray(u.get_mantissa(free))).all():
            raise ParameterError(f"nn.{type(self).__name__}(value={value}): lies outside of what {self.t} gives.")
        return free


class Const(Param):
    """A parameter that is not trained. Arguments and errors: as :class:`Param`; `fit` is False."""

    def __init__(self, value: Any, **param_kwargs: Any) -> None:
        if param_kwargs.pop("fit", False):
            raise ParameterError("nn.Const(fit=True): a constant is not trained; take nn.Param.")
        super().__init__(value, fit=False, **param_kwargs)
