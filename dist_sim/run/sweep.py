"""`sweep`: one function at many points, and the table of what it gave."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import brainunit as u
import jax
import numpy as np

from dist_sim import units
from dist_sim.errors import ParameterError
from dist_sim.run.session import current_session, labelled, tell

_FIRST_S, _EVERY_S = 5.0, 30.0  # when a line tells how far it is


@final
class SweepTable(list[dict[str, Any]]):
    """The rows of a sweep: for each point a dict of its parameters and of what the function gave, in the order of the points."""

    def columns(self) -> dict[str, np.ndarray]:
        """The columns by name, (points, ...) each: `pandas.DataFrame(table.columns())`.

        Quantities become numbers in the unit of the first row, which the name then bears: `weight [pA]`. Where a row has no such
        entry there is None, or NaN among numbers.

        Raises:
            UnitError: a column whose units do not fit each other.
        """
        found = {}
        for name in dict.fromkeys(name for row in self for name in row):
            column = [row.get(name) for row in self]
            first = next((x for x in column if isinstance(x, u.Quantity)), None)
            if first is not None:
                column = [None if x is None else units.checked(x, first.unit, name).to_decimal(first.unit) for x in column]
                name = name if first.is_unitless else f"{name} [{first.unit}]"
            try:
                found[name] = np.array(column)
            except ValueError:  # rows of different lengths
                found[name] = np.empty(len(column), dtype=object)
                found[name][:] = column
            if None in column and all(x is None or isinstance(x, float | int) for x in column):
                found[name] = found[name].astype(float)
        return found


def sweep(
    function: Callable[..., Any], points: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, show: bool = True
) -> SweepTable:
    """Calls a function at each point of a grid or list, and gives the table of its results.

    The first point compiles what is simulated. Those after it, whose networks have the same structure (sizes, models, rules,
    longest delay) and other weights, parameters, rates or seeds, compile nothing.

        def point(weight, rate):
            sim = ds.Simulator(seed=1)
            ...
            return {"rate of exc": sim.simulate(1000 * u.ms).summary["rates"]["exc"]}

        table = ds.sweep(point, {"weight": np.linspace(-90, -30, 20) * u.pA, "rate": [7, 8, 9] * u.kHz})
        pandas.DataFrame(table.columns())

    Under `dist-sim run`, what a point simulates is a run of its own with results in `results/<name>/`, named by the point
    (`weight=-90pA,rate=7kHz`). A run that was stopped goes on in the point in which it stopped: those before it are read back
    where they were saved, and simulated again where they were not.

    Args:
        function: takes the parameters of a point by name, and returns a dict of results, or one result.
        points: name -> values, a grid of all combinations, of which the last name changes fastest; or a list of points, each a
            dict of parameters.
        show: tell from time to time how far it is, if it takes more than a few seconds.

    Returns:
        A list of dicts, one per point: its parameters, then its results by name, or one result as `result`.

    Raises:
        ParameterError: no points, names that differ between points, values that are none, a result named like a parameter.
        Whatever the function raises, with the point in its notes.
    """
    listed, table, session = _listed(points), SweepTable(), current_session()
    labels = [_label(point) for point in listed]
    begin = time.perf_counter()
    due = begin + _FIRST_S
    for number, (point, label) in enumerate(zip(listed, labels, strict=True), start=1):
        try:
            with labelled(label):
                table.append(_row(point, function(**point)))
        except Exception as error:
            error.add_note(f"sweep: at point {number} of {len(listed)}: {label}")
            raise
        now = time.perf_counter()
        if show and now >= due and number < len(listed):
            left = (now - begin) / number * (len(listed) - number)
            said = f"sweep: {number} of {len(listed)} points, {now - begin:.0f} s, about {left:.0f} s to go"
            tell(said, session=session, process=jax.process_index())
            due = now + _EVERY_S
    return table


def _listed(points: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each point as a dict of its own."""
    if isinstance(points, Mapping):
        values = [_values(name, of_name) for name, of_name in points.items()]
        listed = [dict(zip(points, combination, strict=True)) for combination in itertools.product(*values)] if points else []
    else:
        if isinstance(points, str) or not isinstance(points, Sequence) or not all(isinstance(p, Mapping) for p in points):
            raise ParameterError(
                f"sweep(points={points!r:.60}): must be a dict of names and their values, or a list of points, each a dict."
            )
        listed = [dict(point) for point in points]
    if not listed:
        raise ParameterError("sweep: there are no points. Give each name at least one value.")
    for number, point in enumerate(listed, start=1):
        if point.keys() != listed[0].keys():
            raise ParameterError(
                f"sweep: point {number} has {', '.join(point) or 'nothing'}; the first has {', '.join(listed[0])}."
            )
    return listed


def _values(name: str, values: Any) -> list[Any]:
    """The values of one name: those of a list, of an array, of a quantity with one axis."""
    if isinstance(values, u.Quantity) or hasattr(values, "shape"):
        if np.ndim(values) == 0:
            raise ParameterError(f"sweep({name}={values}): is one value. Give a list: [{values}].")
        return [_plain(value) for value in values]
    if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__iter__"):
        raise ParameterError(f"sweep({name}={values!r:.60}): must be a list of values.")
    return list(values)


def _plain(value: Any) -> Any:
    """A number of an array as Python has it, so that seeds are ints and names of files are short."""
    if isinstance(value, u.Quantity):
        return float(value.mantissa) * value.unit if np.ndim(value) == 0 else value
    return value.item() if np.ndim(value) == 0 and hasattr(value, "item") else value


def _row(point: Mapping[str, Any], result: Any) -> dict[str, Any]:
    results = dict(result) if isinstance(result, Mapping) else {"result": result}
    if shared := point.keys() & results.keys():
        raise ParameterError(f"sweep: the result {', '.join(sorted(shared))} is named like a parameter. Give it another name.")
    return {**point, **results}


def _label(point: Mapping[str, Any]) -> str:
    """A point as text, which names files too."""
    text = ",".join(f"{name}={_text(value)}" for name, value in point.items())
    return "".join("_" if c in "/\\" or ord(c) < 32 else c for c in text)[:150].strip() or "point"


def _text(value: Any) -> str:
    if isinstance(value, u.Quantity) and np.ndim(value) == 0:
        return f"{float(value.mantissa):.10g}{'' if value.is_unitless else value.unit}".replace(" ", "")
    if isinstance(value, float):
        return f"{value:.10g}"
    return getattr(value, "__name__", None) or str(value)[:40]
