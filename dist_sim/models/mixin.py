"""`ds.mixin`: how a model is to be computed (modes), and what can be described before it is made."""

from __future__ import annotations

from typing import Any

from dist_sim.models.describe import Described as ParamDesc
from dist_sim.models.describe import Descriptor as ParamDescriber

__all__ = ["Batching", "JointMode", "JointTypes", "Mixin", "Mode", "OneOfTypes", "ParamDesc", "ParamDescriber", "Training"]


class Mixin:
    """A class that adds to others."""


class Mode(Mixin):
    """How a model is to be computed. A label for programs to ask by; nothing in dist_sim reads it: batches are sizes given to
    `init_all_states`, and training is what `transform.grad` does.
    """

    def is_a(self, mode: type) -> bool:
        """It is of this class, not of one derived from it."""
        return type(self) is mode

    def has(self, mode: type) -> bool:
        """It is of this class, or of one derived from it."""
        return isinstance(self, mode)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in vars(self).items())})"


class Training(Mode):
    """For training."""


class Batching(Mode):
    """For many samples at once.

    Args:
        batch_size: how many.
        batch_axis: the axis along which they lie.
    """

    def __init__(self, batch_size: int = 1, batch_axis: int = 0) -> None:
        self.batch_size, self.batch_axis = batch_size, batch_axis


class JointMode(Mode):
    """Several modes at once, with the attributes of all.

    Raises:
        TypeError: something that is no mode.
    """

    def __init__(self, *modes: Mode) -> None:
        for mode in modes:
            if not isinstance(mode, Mode):
                raise TypeError(f"JointMode({mode!r:.60}): give modes, such as Batching(32).")
        self.modes = modes

    def has(self, mode: type) -> bool:
        return any(own.has(mode) for own in self.modes)

    def is_a(self, mode: type) -> bool:
        return len(self.modes) == 1 and self.modes[0].is_a(mode)

    def __getattr__(self, name: str) -> Any:
        for mode in vars(self).get("modes", ()):
            if name in vars(mode):
                return getattr(mode, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")


class _Types(type):
    """A class to ask by `isinstance`, made of others by `[...]` or a call."""

    of: tuple[type, ...] = ()
    need: Any = all

    def __call__(cls, *types: type) -> Any:
        names = ", ".join(kind.__name__ for kind in types)
        return _Types(f"{cls.__name__}[{names}]", (), {"of": types, "need": staticmethod(cls.need)})

    def __getitem__(cls, types: Any) -> Any:
        return cls(*(types if isinstance(types, tuple) else (types,)))

    def __instancecheck__(cls, instance: Any) -> bool:
        return cls.need([isinstance(instance, kind) for kind in cls.of])

    def __subclasscheck__(cls, kind: type) -> bool:
        return cls.need([issubclass(kind, own) for own in cls.of])


class JointTypes(metaclass=_Types):
    """What is of all these classes: `isinstance(x, JointTypes[LIF, ParamDesc])`."""

    need = staticmethod(all)


class OneOfTypes(metaclass=_Types):
    """What is of one of these classes."""

    need = staticmethod(any)
