"""The contract of a synapse model: what it declares, and the texts of one synapse; everything else follows from these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from dist_sim import units
from dist_sim.errors import ParameterError, UnknownNameError
from dist_sim.kernels import build
from dist_sim.nest.synapses.declared import WEIGHT, Parameter, Trace, Variable
from dist_sim.nest.synapses.text import Model
from dist_sim.network.changing import Changing
from dist_sim.network.distributions import bounds


class Synapse:
    """A synapse model with NEST's name. An object of it, with its parameters, is what `connect(synapse=...)` takes.

    A model declares, as class attributes, its `Parameter`s (of a connection), `Variable`s (of a synapse, besides its weight) and
    `Trace`s (of the target's spikes), and, if its synapses change, writes in plain jnp on ONE synapse's numbers:

    * `on_pre(s, p, e)` -> (changed variables by name, weight that is passed on), or with a third entry, whether it is: a
      presynaptic spike. s the variables, with `s.weight`; p the parameters; e the event: `e.h` [ms] since the last presynaptic
      spike, or since time 0 if `e.first`; `e.decay.<tau>` exp(-h / tau); `e.<trace>`; `e.uniforms`, as many as `uniforms`
      says, in (0, 1).
    * `on_post(s, p, e)` -> changed variables: a spike of the target, which arrives at the synapse a delay later, `e.h` after
      the last presynaptic spike. `e.<trace>`, of those that are not nearest: just before that spike. In order, before the next
      `on_pre`.

    Names that are words of Python end with an underscore, and are given and read without it too.

    Args:
        weight, delay: as of `connect`, which takes them from here or from its own arguments.
        weight_recorder: what `create(weight_recorder)` returned, to record what the synapses pass on; None for nothing.
        given: parameters and initial values of variables.

    Raises:
        UnknownNameError: another parameter. UnitError, ParameterError: a value that does not fit.
    """

    parameters: ClassVar[Mapping[str, Parameter]]
    variables: ClassVar[Mapping[str, Variable]]
    traces: ClassVar[Mapping[str, Trace]]
    default_weight: ClassVar[float] = 1.0
    common_weight: ClassVar[bool] = False  # whether all synapses of a connection have one weight
    on_post: ClassVar[Callable[..., Any] | None] = None
    on_pre: ClassVar[Callable[..., Any] | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)

        def of(kind: type) -> dict[str, Any]:
            return {n: v for n, v in vars(cls).items() if isinstance(v, kind)}

        cls.parameters, cls.variables, cls.traces = of(Parameter), of(Variable), of(Trace)

    def __init__(self, *, weight: Any = None, delay: Any = None, weight_recorder: Any = None, **given: Any) -> None:
        self.weight, self.delay, self.weight_recorder = weight, delay, weight_recorder
        name, known = type(self).__name__, self.settable()
        self.given: dict[str, Any] = {}
        for key, value in given.items():
            own = f"{key}_" if f"{key}_" in known else key
            if own not in known:
                self._refuse(key)
            if own in self.given:
                raise ParameterError(f"{name}: {own.rstrip('_')} is given twice, as {own} and as {own.rstrip('_')}.")
            self.given[own] = value
        self.values = {n: self._number(n, p.unit, "") for n, p in known.items() if p.unit is not WEIGHT}
        self.check(self.values)

    # ---- what a model may write ----

    @classmethod
    def check(cls, p: Mapping[str, float]) -> None:
        """Raises ParameterError where parameters (those in the unit of the target's input left out) do not fit each other."""

    @classmethod
    def largest(cls, p: Mapping[str, float], largest: float) -> float | None:
        """What a synapse passes on at most, given its parameters and the largest initial weight; None if the model does not
        say."""
        return max(largest, abs(p["Wmax"])) if "Wmax" in p else largest

    @classmethod
    def uniforms(cls, p: Mapping[str, float]) -> int:
        """Random numbers that a presynaptic spike takes."""
        return 0

    # ---- what follows ----

    @classmethod
    def settable(cls) -> dict[str, Parameter]:
        """What a user may give besides weight, delay and weight_recorder."""
        return {**cls.parameters, **{n: v.as_parameter() for n, v in cls.variables.items() if not v.hidden}}

    @classmethod
    def names(cls) -> list[str]:
        """All arguments."""
        return ["weight", "delay", *cls.settable(), "weight_recorder"]

    def changing(self, weight: build.Draw, unit: str, where: str) -> Changing | None:
        """How the synapses of a connection change, in bare numbers; None if they do not.

        Args:
            weight: the initial weights, in `unit`, which is that of the target's input.

        Raises:
            UnitError, ParameterError: parameters that do not fit each other or the target.
        """
        if self.common_weight and weight.kind != build.CONSTANT:
            raise ParameterError(
                f"{where}: {type(self).__name__} has one weight for all synapses of a connection; give one number."
            )
        if self.on_pre is None:
            return None
        values = self.values | {n: self._number(n, unit, f"{where}: ") for n, p in self.parameters.items() if p.unit is WEIGHT}
        low, high = bounds(weight)
        if "Wmax" in values:
            self._check_weights(values["Wmax"], weight, unit, where)
        largest = self.largest(values, max(abs(low), abs(high)))
        return Changing(
            model=Model(type(self)),  # pyright: ignore[reportArgumentType]
            parameters={n: values[n] for n in self.parameters},
            initial={n: values.get(n, float(v.start)) for n, v in self.variables.items()},
            largest=GROWTH * max(abs(low), abs(high)) if largest is None else largest,
            bounded=largest is not None,
            uniforms=self.uniforms(values),
        )

    def _number(self, name: str, unit: Any, where: str) -> float:
        parameter = self.settable()[name]
        wanted = units.UNITS[unit] if isinstance(unit, str) else unit
        if name not in self.given:
            return float(parameter.default)
        value = self.given[name]
        return parameter.number(value, wanted, f"{where}{type(self).__name__}({name.rstrip('_')}={value})")

    def _check_weights(self, Wmax: float, weight: build.Draw, unit: str, where: str) -> None:
        low, high = bounds(weight)
        name = f"{where}: {type(self).__name__}(Wmax={Wmax:g} {unit})"
        if Wmax == 0:
            raise ParameterError(f"{name}: must be a weight, and not 0.")
        wide = "" if weight.kind in (build.CONSTANT, build.ARRAY) else " Give the distribution a min and a max."
        if (low < 0) != (Wmax < 0) or (high < 0) != (Wmax < 0):
            found = f"{low:g}" if low == high else f"{low:g} to {high:g}"
            raise ParameterError(f"{name}: weight and Wmax must have the same sign; the weights are {found} {unit}.{wide}")
        if max(abs(low), abs(high)) > abs(Wmax):
            raise ParameterError(
                f"{name}: no weight may be beyond Wmax; the largest is {max(low, high, key=abs):g} {unit}. Raise Wmax.{wide}"
            )

    def _refuse(self, key: str) -> None:
        name, of_targets = type(self).__name__, {trace.tau for trace in self.traces.values()}
        if key in of_targets:
            raise ParameterError(
                f"{name}({key}=...): a parameter of the target neurons, as in NEST: "
                f"create(model, n, params=dict({key}=20 * u.ms))."
            )
        raise UnknownNameError("parameter", key, self.names(), where=name)


GROWTH = 64.0  # a weight whose model has no bound may become so many times the largest initial one
