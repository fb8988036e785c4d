"""The contract of a neuron model: what it declares, and the text of one neuron's step; everything else follows from these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from dist_sim.core import HiddenState, Module
from dist_sim.errors import ParameterError
from dist_sim.models.surrogate import InvSquareGrad
from dist_sim.nest.declared import Counter, Parameter, Receptor, Recordable, State
from dist_sim.nest.laws import Law, Linear
from dist_sim.nest.neurons.alone import Alone


class NESTNeuron(Module):
    """A neuron model with NEST's name: in a `Simulator` by `create`, or as a Module that runs alone.

    A model declares, as class attributes, its `Parameter`s, `State`s, `Counter`s, `Receptor`s and recordables, the `law` of
    its step, and writes, in plain jnp on ONE neuron's numbers:

    * `propagators(p, dt)`: what can be computed once, on the host in float64 from arrays of parameters (numpy): name -> array.
    * `step(y, p, x)` -> (changed states by name, whether it spikes or how often): y the states, p parameters and propagators,
      x what arrives (`x.<receptor>`), `x.current` [pA], `x.step`, `x.uniforms`, `x.features`.
    * with the law `Adaptive`: `derivatives(y, p, x)` -> dy/dt by name, solved before `step`, which then has `x.before`, the
      states before the solve; and, where a model needs it, `accepted(y, p, x)` after each internal step, returning as `step`
      does; `x.first`: whether it is the first of its step.

    Potentials that are `relative_to` another are so in the text; users and recorders see them absolute.

    As a Module, `neurons = ds.iaf_cond_exp(100, E_L=-65 * u.mV)` has its States made by `init_all_states`, `neurons(current)`
    is one step of environ's dt and gives spikes 0. or 1., with a surrogate gradient; weights that arrive go in by the names of
    receptors.

    Args:
        size: number of neurons, or the shape of the population.
        spk_fun: from the scaled distance to threshold to spikes, whose derivative stands for that of the spikes.
        name: of the Module.
        parameters: of the model, and initial values: a quantity for all neurons, or an array of one per neuron.

    Raises:
        UnknownNameError, UnitError, ParameterError: a parameter that does not fit.
    """

    def __init__(
        self, size: int | tuple[int, ...], *, spk_fun: Any = InvSquareGrad(), name: str | None = None, **parameters: Any
    ) -> None:
        super().__init__(name)
        self.alone = Alone(type(self), size, parameters, spk_fun)

    def init_state(self, batch_size: int | None = None) -> None:
        """Makes the States, (size,) or (batch_size, *size) each."""
        self.rows = {name: HiddenState(value) for name, value in self.alone.start(batch_size).items()}

    def update(self, current: Any = None, **arriving: Any) -> Any:
        """One step.

        Args:
            current: [pA], broadcastable to the size; several ports: a tuple.
            arriving: by receptor name, the weights of the spikes that arrive at the end of the step [unit of the receptor].

        Returns:
            Spikes 0. or 1. (or how many), of the shape of the states.
        """
        rows, spikes = self.alone.step({n: s.value for n, s in self.rows.items()}, current, arriving)
        for row, value in rows.items():
            self.rows[row].value = value
        return spikes

    def parameter(self, name: str) -> Any:
        """A parameter as a quantity, (size,)."""
        return self.alone.parameter(name)

    def state(self, name: str) -> Any:
        """A state as a quantity, of the shape of the States; potentials absolute."""
        return self.alone.absolute(name, {n: s.value for n, s in self.rows.items()})

    def set_state(self, name: str, value: Any) -> None:
        for row, bare in self.alone.relative(name, value, {n: s.value for n, s in self.rows.items()}).items():
            self.rows[row].value = bare

    parameter_declarations: ClassVar[Mapping[str, Parameter]]
    state_declarations: ClassVar[Mapping[str, State]]
    counter_declarations: ClassVar[Mapping[str, Counter]]
    receptors: ClassVar[Mapping[str, Receptor]]
    derived_recordables: ClassVar[Mapping[str, Recordable]]
    law: ClassVar[Law] = Linear()
    current_ports: ClassVar[int] = 1
    # Whether a neuron can send several spikes in a step; whether it has two states and sends their changes: the step then
    # returns 2 for up and 1 for down, which is what a recorder sees, and synapses add their weights or take them away.
    several_spikes: ClassVar[bool] = False
    binary: ClassVar[bool] = False
    relays: ClassVar[bool] = False  # whether it passes on what neurons of two states send as well as spikes
    # Parameters that must be equal, pair by pair, for both signs of weights to share one channel.
    same_dynamics: ClassVar[tuple[tuple[str, str], ...]] = ()
    # What a step needs only where a neuron of the network has it: name -> which neurons have, from their parameters. In a text
    # `"name" in x.features` is known when it is traced, so the others do not pay.
    features: ClassVar[Mapping[str, Callable[[Mapping[str, np.ndarray]], Any]]] = {}
    # Names of states that are recorded, in NEST's order; by default all that are declared, then the derived ones.
    records: ClassVar[tuple[str, ...] | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        declared: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            declared |= {
                n: v for n, v in vars(base).items() if isinstance(v, Parameter | State | Counter | Receptor | Recordable)
            }

        def of(kind: type) -> dict[str, Any]:
            return {n: v for n, v in declared.items() if isinstance(v, kind)}

        cls.parameter_declarations, cls.state_declarations, cls.counter_declarations = of(Parameter), of(State), of(Counter)
        cls.receptors = of(Receptor)
        cls.derived_recordables = {r.name or name: r for name, r in of(Recordable).items()}

    # ---- what a model may write ----

    @classmethod
    def check(cls, p: Mapping[str, np.ndarray]) -> None:
        """Raises ParameterError where parameters do not fit each other; (n,) float64 each, of a whole population or a part."""
        if "V_reset" in p and "V_th" in p:
            cls.refuse_where(
                p["V_reset"] >= p["V_th"], p, "V_reset", "V_th", "must be below", "The neuron would spike at every step."
            )

    @staticmethod
    def propagators(p: Any, dt: float) -> Mapping[str, Any]:
        return {}

    step: ClassVar[Callable[..., Any]]
    derivatives: ClassVar[Callable[..., Any] | None] = None
    accepted: ClassVar[Callable[..., Any] | None] = None

    # ---- what follows ----

    @classmethod
    def refuse_where(cls, wrong: np.ndarray, p: Mapping[str, np.ndarray], name: str, than: str, words: str, why: str) -> None:
        """Raises ParameterError if any is wrong, with the first such neuron's numbers."""
        if np.any(wrong):
            k = int(np.argmax(wrong))
            a, b = (f"{np.broadcast_to(p[n], np.shape(wrong))[k]:g} {cls.parameter_declarations[n].unit}" for n in (name, than))
            raise ParameterError(f"{cls.__name__}({name}={a}): {name} {words} {than}={b}. {why}")

    @classmethod
    def axes(cls) -> tuple[str, ...]:
        return tuple(dict.fromkeys(p.axis for p in cls.parameter_declarations.values() if p.axis is not None))


def crossed(V: Any, V_th: Any) -> Any:
    """Whether a potential is at its threshold. An infinite one is no spike: it must not vanish in a reset, but be found."""
    return (V >= V_th) & (V < jnp.inf)
