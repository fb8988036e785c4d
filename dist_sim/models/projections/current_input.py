"""How the current of a projection gets into a population."""

from __future__ import annotations

from typing import Any, final

import brainunit as u

from dist_sim.core import Module
from dist_sim.errors import UnitError
from dist_sim.models.dynamics import Dynamics
from dist_sim.models.neurons.neuron import Neuron
from dist_sim.models.outputs.output import SynOut
from dist_sim.models.subpopulation import Subpopulation


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


def check_current(where: str, out: SynOut, unit: Any, post: Dynamics | Subpopulation) -> None:
    """That an output makes what the population takes of something in `unit`.

    Raises:
        UnitError: it does not.
    """
    current = out.update(1.0 * unit, 1.0 * u.mV)
    wanted = post.input_unit if isinstance(post, Neuron | Subpopulation) else u.mA
    if not u.have_same_dim(current, wanted):
        raise UnitError(
            f"{where}: {type(out).__name__} makes {u.get_unit(current)} of {unit}; {type(post).__name__} takes {wanted}. With "
            "CUBA give a scale that makes it that."
        )
