"""Texts as C++ on vector registers, and as CUDA: the same operations in the same order.

A value is an SSA name of type V (numbers), I (whole numbers as wide as they) or M (masks); `cpp/lanes.h` has the types: GCC
vectors on CPUs, plain numbers in CUDA.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from dist_sim.kernels.scalar.text import BOOL, FLOAT, INT, Arithmetic, Text, read

_TYPES = {FLOAT: "V", INT: "I", BOOL: "M"}
_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=",
    "and": "&", "or": "|", "xor": "^",
}  # fmt: skip


@final
class Source:
    """C++ functions of texts, each written once.

    Args:
        costly_branch: how a branch is declared that calls others. Where most do not take it, it must not cost the rest registers.
    """

    def __init__(self, costly_branch: str = "INLINE") -> None:
        self._costly_branch = costly_branch
        self._written: dict[str, str] = {}
        self._order: list[str] = []

    def function(self, name: str, text: Text) -> str:
        """The name of the function of a text; its results are its last arguments."""
        key = f"{name}\n{text.jaxpr}\n{text.jaxpr.consts}"
        if key not in self._written:
            self._written[key] = called = f"{name}_{len(self._written)}"
            arguments = [f"a{k}" for k in range(len(text.inputs))]
            lines, results = body(text, arguments, self)
            given = [f"const {_TYPES[kind]} {a}" for kind, a in zip(text.inputs, arguments, strict=True)]
            given += [f"{_TYPES[kind]}& r{k}" for k, kind in enumerate(text.outputs)]
            stores = [f"r{k} = {result};" for k, result in enumerate(results)]
            inside = "\n".join(f"  {line}" for line in [*lines, *stores])
            calls = any(f"{other}(" in inside for other in self._written.values())
            declared = self._costly_branch if name == "chosen" and calls else "INLINE"
            self._order.append(f"{declared} void {called}({', '.join(given)}) {{\n{inside}\n}}")
        return self._written[key]

    def __str__(self) -> str:
        return "\n\n".join(self._order)


def body(text: Text, arguments: Sequence[Any], source: Source) -> tuple[list[str], list[str]]:
    """The statements of a text whose inputs have the given names, and the names of its results."""
    printer = _Printer(text.dtype, source)
    results = read(text, arguments, printer)
    return printer.lines, results


def stores(text: Text, names: Sequence[str], results: Sequence[str]) -> list[str]:
    """Statements that store results. All are there before the first is stored: one may be another's old value."""
    kept = [f"const {_TYPES[kind]} r{k} = {result};" for k, (kind, result) in enumerate(zip(text.outputs, results, strict=True))]
    return [*kept, *(f"{name} = r{k};" for k, name in enumerate(names))]


@final
class _Printer(Arithmetic):
    def __init__(self, dtype: np.dtype, source: Source, lines: list[str] | None = None, prefix: str = "v"):
        self.dtype, self.source, self.prefix = dtype, source, prefix
        self.lines: list[str] = []
        self._known: dict[str, str] = {}

    def literal(self, value: Any, kind: str) -> str:
        if kind == BOOL:
            return f"mask({'true' if value else 'false'})"
        if kind == INT:
            return f"whole({int(value)}ll)"
        number = float(self.dtype.type(value))
        if np.isnan(number):
            return "constant(NOT_A_NUMBER)"
        if np.isinf(number):
            return f"constant({'-' if number < 0 else ''}INFINITE)"
        return f"constant({number.hex()})"

    def _name(self, expression: str, kind: str) -> str:
        # The same operation on the same names is the same number.
        key = f"{kind} {expression}"
        if key not in self._known:
            self._known[key] = name = f"{self.prefix}{len(self.lines)}"
            self.lines.append(f"const {_TYPES[kind]} {name} = {expression};")
        return self._known[key]

    def operation(self, name: str, values: Sequence[Any], kinds: Sequence[str], kind: str) -> str:
        a, *more = values
        if name in _INFIX:
            return self._name(f"{a} {_INFIX[name]} {more[0]}", kind)
        if name == "neg":
            return self._name(f"-{a}", kind)
        if name == "not":
            return self._name(f"negate({a})" if kind == BOOL else f"~{a}", kind)
        if name in ("to_float", "to_int") and kinds[0] == BOOL:
            name = f"flag_{name}"
        return self._name(f"{name}({', '.join(values)})", kind)

    def function(self, name: str, text: Text, values: Sequence[Any]) -> Sequence[str]:
        called = self.source.function(name, text)
        return self._call(called, text, values)

    def _call(self, called: str, text: Text, values: Sequence[Any]) -> list[str]:
        key = f"{called}({', '.join(values)})"
        if key not in self._known:
            names = [f"{self.prefix}{len(self.lines)}_{k}" for k in range(len(text.outputs))]
            declared = " ".join(f"{_TYPES[kind]} {n};" for n, kind in zip(names, text.outputs, strict=True))
            self.lines.append(f"{declared} {called}({', '.join([*values, *names])});")
            self._known[key] = " ".join(names)
        return self._known[key].split()

    def choose(self, condition: Any, text: Text, other: Text, values: Sequence[Any]) -> list[str]:
        names = [f"{self.prefix}{len(self.lines)}_{k}" for k in range(len(text.outputs))]
        yes, no = self.source.function("chosen", text), self.source.function("chosen", other)
        declared = " ".join(f"{_TYPES[kind]} {n}, {n}_;" for n, kind in zip(names, text.outputs, strict=True))
        operands = [*values, *names]
        # What no neuron of the register takes is not computed.
        lines = [f"{declared} {no}({', '.join(operands)});", f"if (any({condition})) {{"]
        lines.append(f"  {yes}({', '.join([*values, *(n + '_' for n in names)])});")
        lines += [f"  {n} = select({condition}, {n}_, {n});" for n in names]
        self.lines += [*lines, "}"]
        return names
