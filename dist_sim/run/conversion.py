"""What a run has recorded, for numpy, pandas and neo: one method each, the same for every kind of run.

pandas and neo are imported when they are asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from dist_sim.errors import MissingPackageError, ParameterError

if TYPE_CHECKING:
    import neo
    import pandas


@final
@dataclass(frozen=True, kw_only=True)
class Spiked:
    """Spikes: columns, (n,) each, beginning with times [ms] and senders; units of those that have one; by time.

    Attributes:
        of: (k,) all that were recorded, also those without a spike; None where columns have no meaning as spike trains.
        stop: end of the recording [ms].
    """

    columns: Mapping[str, np.ndarray]
    units: Mapping[str, str]
    of: np.ndarray | None
    stop: float


@final
@dataclass(frozen=True, kw_only=True)
class Sampled:
    """Samples: times (s,) [ms], senders (c,), and by name values (s, c) with their units."""

    times: np.ndarray
    senders: np.ndarray
    values: Mapping[str, np.ndarray]
    units: Mapping[str, str]

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """A row for each sample of each sender, (s * c,): by time, then in the order of the senders."""
        rows, columns = len(self.times), len(self.senders)
        known = {"times": np.repeat(self.times, columns), "senders": np.tile(self.senders, rows)}
        return known | {name: values.reshape(-1) for name, values in self.values.items()}


class Convertible(ABC):
    """A result whose recordings other packages take in."""

    @abstractmethod
    def recorded(self, what: Any) -> Spiked | Sampled:
        """Bare numbers of what was recorded, by a recorder or under a name."""

    def to_numpy(self, what: Any) -> dict[str, np.ndarray]:
        """Bare arrays (n,) by NEST's names, which `np.histogram` and the like take in.

        Of spikes: `times` [ms] and `senders`; of a weight_recorder also `targets`, `weights` and `receptors`. Of a meter a row
        for each time and neuron: `times`, `senders`, and each recordable. Of samples under a name of `Run(record=...)`: `times`,
        `senders` (places in the array that was recorded, counted through all its axes), and the name.

        Args:
            what: a recorder, or its name; of a Run, a name of `record`.

        Raises:
            UnknownNameError, ConnectError: nothing of the kind was recorded. OutputError: it cannot be read.
        """
        return dict(self.recorded(what).columns)

    def to_pandas(self, what: Any) -> pandas.DataFrame:
        """A table with the columns of :meth:`to_numpy`; `table.attrs["units"]` has their units.

        Raises:
            MissingPackageError: pandas is not installed. And as :meth:`to_numpy`.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingPackageError("to_pandas", "pandas", error) from error
        found = self.recorded(what)
        table = pandas.DataFrame(dict(found.columns))
        table.attrs["units"] = {"times": "ms", **found.units}
        return table

    def to_neo(self, what: Any) -> list[neo.SpikeTrain] | list[neo.AnalogSignal]:
        """Of spikes: a SpikeTrain [ms] for each neuron that was recorded, also for those without a spike, from 0 to the end of
        the run, with the neuron as annotation `sender`. Of samples: an AnalogSignal (times, senders) for each recordable, with
        the array annotation `senders`.

        Raises:
            MissingPackageError: neo is not installed. ParameterError: what neo has no form for: recorded weights, a unit that it
                does not know, a single sample. And as :meth:`to_numpy`.
        """
        try:
            import neo
            import quantities
        except ImportError as error:
            raise MissingPackageError("to_neo", "neo", error) from error
        found = self.recorded(what)
        if isinstance(found, Spiked):
            if found.of is None:
                raise ParameterError("to_neo: neo has no form for recorded weights. Use to_pandas.")
            times, senders = found.columns["times"], found.columns["senders"]
            order = np.argsort(senders, kind="stable")
            of_each = np.searchsorted(senders[order], [found.of, found.of + 1])
            return [
                neo.SpikeTrain(times[order[first:last]], units="ms", t_stop=found.stop, name=str(sender), sender=int(sender))
                for sender, first, last in zip(found.of, *of_each, strict=True)
            ]
        if len(found.times) < 2:
            raise ParameterError(f"to_neo: {len(found.times)} samples; a signal of neo needs two. Use to_pandas.")
        signals = []
        for name, values in found.values.items():
            unit = found.units.get(name, "dimensionless")
            try:
                signal = quantities.Quantity(values, unit)
            except LookupError as error:
                raise ParameterError(f"to_neo: neo does not know the unit {unit} of {name}. Use to_pandas.") from error
            signals.append(
                neo.AnalogSignal(
                    signal, t_start=found.times[0] * quantities.ms, name=name, array_annotations={"senders": found.senders},
                    sampling_period=(found.times[-1] - found.times[0]) / (len(found.times) - 1) * quantities.ms,
                )
            )  # fmt: skip
        return signals
