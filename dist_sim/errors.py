"""Every error that dist_sim raises on purpose, and the helper that suggests the name you meant.

Each derives from :class:`DistSimError` and from the builtin that a caller would catch.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DistSimError(Exception):
    """Base of all errors raised by dist_sim."""


class ParameterError(DistSimError, ValueError):
    """A value outside what is allowed, or of the wrong size."""


class UnitError(ParameterError, TypeError):
    """A quantity without a unit, or with the unit of something else."""


class UnknownNameError(DistSimError, LookupError):
    """A model, rule, parameter or recordable that does not exist."""

    def __init__(self, what: str, name: object, known: Iterable[str], where: str = ""):
        known = sorted(known)
        close = difflib.get_close_matches(str(name), known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        # Of many, as many as a message has room for.
        shown = ", ".join(known)
        shown = shown if len(shown) <= 400 else shown[:400].rpartition(", ")[0] + ", ..."
        prefix = f"{where}: " if where else ""
        super().__init__(f"{prefix}unknown {what} {name!r}.{hint} Known: {shown}")


class UnknownAttributeError(UnknownNameError, AttributeError):
    """An attribute that a model does not have, or not before its States are made."""


class ConnectError(DistSimError, ValueError):
    """Two populations that cannot be connected as asked."""


class DeviceError(DistSimError, RuntimeError):
    """Devices that are asked for and not there."""


class TraceContextError(DistSimError, RuntimeError):
    """A State read or written outside the trace that its value belongs to."""


class StateValueError(DistSimError, ValueError):
    """A value that does not fit the slot a State's first value defined: structure, shape, dtype or unit."""


class BatchAxisError(DistSimError, ValueError):
    """Lanes of a vmap that do not fit together, or that write different values to one shared State."""


class NumericalError(DistSimError, ArithmeticError):
    """NaN or infinity in a state."""


class CompiledError(DistSimError, RuntimeError):
    """A condition that a model checks while it runs, and that does not hold."""


class OutputError(DistSimError, OSError):
    """A file that cannot be written or read as asked."""


class MissingPackageError(DistSimError, ImportError):
    """An optional package that is needed for what was asked, and not installed."""

    def __init__(self, what: str, package: str, error: ImportError):
        # Installed, and yet not to be imported: what it lacks is in its own words.
        why = "is not installed" if getattr(error, "name", None) in (package, None) else f"cannot be imported ({error})"
        super().__init__(f"{what}: needs {package}, which {why}: pip install {package}", name=package)
