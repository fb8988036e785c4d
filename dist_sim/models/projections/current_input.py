"""How the current of a projection gets into a population."""

from __future__ import annotations

from typing import Any, final

import brainunit as u

from dist_sim.core import Module
from dist_sim.errors import UnitError
from dist_sim.models.dynamics import Dynamics
from dist_sim.models.neurons.neuron import Neuron
from dist_sim.models.outputs.cuba import CUBA
from dist_sim.models.outputs.output import SynOut
from dist_sim.models.subpopulation import Subpopulation
from dist_sim.units import KINDS


@final
class Flowing(SynOut):
    """A current as it is, whatever the potential."""

    def update(self, conductance: Any, potential: Any) -> Any:
        return conductance


@final
class StepEnd(Module):
    """Runs after the targets: no later step takes the conductance of this one."""

    def __init__(self, out: SynOut) -> None:
        super().__init__()
        self.out = out

    def update(self, spikes: Any) -> None:
        self.out.unbind_cond()


def let_in(post: Dynamics | Subpopulation, out: SynOut, key: str, label: str | None = None) -> str:
    """Makes an output a current of the population, under a key that is free. Returns the key."""
    named, count = key, 1
    while named in post.after_updates:
        count += 1
        named = f"{key} {count}"
    post.add_current_input(named, out, label)
    post.after_updates[named] = StepEnd(out)
    return named


def makes_current(out: SynOut, unit: Any, post: Dynamics | Subpopulation) -> bool:
    """Whether an output makes what the population takes of something in `unit`."""
    try:
        return u.have_same_dim(out.update(1.0 * unit, 1.0 * u.mV), _taken(post))
    except u.UnitMismatchError:
        return False


def check_current(where: str, out: SynOut, unit: Any, post: Dynamics | Subpopulation, given: str) -> None:
    """That an output makes what the population takes of something in `unit`.

    Args:
        given: what that is, for the error message: "weights in nS".

    Raises:
        UnitError: it does not.
    """
    if makes_current(out, unit, post):
        return
    taken = _taken(post)
    needed = u.get_unit(1.0 * taken / out.update(1.0 * u.UNITLESS, 1.0 * u.mV))
    raise UnitError(
        f"{where}: {type(post).__name__} takes {_named(taken)}; {type(out).__name__} makes it of {_named(needed)}; got {given}."
        + " Give CUBA a scale that fits the weights, or weights that fit its scale." * isinstance(out, CUBA)
    )


def unit_shown(unit: Any) -> str:
    """As in "weights in nS" and "weights without unit"."""
    return "without unit" if u.have_same_dim(unit, u.UNITLESS) else f"in {unit}"


def _taken(post: Dynamics | Subpopulation) -> Any:
    return post.input_unit if isinstance(post, Neuron | Subpopulation) else u.mA


def _named(unit: Any) -> str:
    if u.have_same_dim(unit, u.UNITLESS):
        return "numbers without unit"
    like = next((name for name in KINDS if u.have_same_dim(getattr(u, name), unit)), None)
    return f"something in {unit}" if like is None else f"{KINDS[like]} ({unit if hasattr(u, str(unit)) else like})"
