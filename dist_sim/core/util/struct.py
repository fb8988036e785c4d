"""`ds.util.struct`: dataclasses whose fields JAX transforms."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar, dataclass_transform

import jax

T = TypeVar("T")


def field(pytree_node: bool = True, **kwargs: Any) -> Any:
    """As `dataclasses.field`; with `pytree_node=False`, a field that JAX leaves alone: hashable, part of the structure."""
    return dataclasses.field(metadata={**kwargs.pop("metadata", {}), "pytree_node": pytree_node}, **kwargs)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def dataclass(cls: type[T] | None = None, **kwargs: Any) -> Any:
    """As `dataclasses.dataclass`, frozen: a PyTree of its fields, with `.replace(name=value)`. With or without arguments."""
    if cls is None:
        return lambda cls: dataclass(cls, **kwargs)
    made: Any = dataclasses.dataclass(**{"frozen": True, **kwargs})(cls)
    names = {True: [], False: []}
    for entry in dataclasses.fields(made):
        names[entry.metadata.get("pytree_node", True)].append(entry.name)
    made.replace = dataclasses.replace
    return jax.tree_util.register_dataclass(made, data_fields=names[True], meta_fields=names[False])


def is_dataclass(cls: Any) -> bool:
    """Whether it is a dataclass, or an object of one."""
    return dataclasses.is_dataclass(cls)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class PyTreeNode:
    """What is derived from it is a :func:`dataclass`; arguments of the class go to it."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__()
        dataclass(cls, **kwargs)

    def replace(self: T, **changes: Any) -> T:
        """Another one, with these fields."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]
