"""Every public name of brainstate, braintools and brainpy.state is here, or has a reason; arguments are the same, or have one."""

import re
import types

import pytest

pytest.importorskip("brainpy.state")
from names import table  # noqa: E402

ROWS = list(table.rows())
SETTLED = table.reasons("reasons.toml")


def names(rows):
    return [f"{row.namespace}.{row.name}" for row in rows]


def test_there_is_something_to_compare():
    found = {namespace: sum(row.namespace == namespace for row in ROWS) for namespace in table.NAMESPACES}
    assert len(ROWS) > 600 and min(found.values()) >= 8, found


@pytest.mark.parametrize("namespace", table.NAMESPACES)
def test_a_name_is_here_or_has_a_reason(namespace):
    without = [row for row in ROWS if row.namespace == namespace and not row.exists and row.kind != "not"]
    assert not without, f"beside {table.versions()}: no reason in tests/names/reasons.toml for {names(without)}"


@pytest.mark.parametrize("namespace", table.NAMESPACES)
def test_a_name_that_is_here_takes_the_same_arguments_or_has_a_reason(namespace):
    rows = [row for row in ROWS if row.namespace == namespace and row.exists and row.mismatch and row.kind != "differs"]
    assert not rows, f"beside {table.versions()}: {[(row.name, row.mismatch) for row in rows]}"


def test_no_reason_outlives_its_cause():
    rows = {(row.namespace, row.name): row for row in ROWS}
    stale = [key for key, (kind, _) in SETTLED.items() if key in rows and rows[key].exists and kind == "not"]
    assert not stale, f"these are here: {stale}"
    differ = {key: rows[key] for key, (kind, _) in SETTLED.items() if key in rows and kind == "differs"}
    alike = [key for key, row in differ.items() if not (row.exists and row.mismatch)]
    assert not alike, f"these take the same arguments, or are not here: {alike}"
    unknown = [namespace for namespace, _ in SETTLED if namespace not in table.NAMESPACES]
    assert not unknown


def test_the_page_is_the_one_of_these_names(checkout):
    """Write it anew by `python tests/names/table.py`."""
    text = (checkout / ".docs/names.md").read_text()
    named = re.search(r"beside (.*?)\. A name", text)
    assert named
    if named[1] != table.versions():
        pytest.skip(f"the page is beside {named[1]}; here are {table.versions()}")
    assert text == table.page()


def f(a, b=1, *, c=2): ...


@pytest.mark.parametrize(
    ("ours", "says"),
    [
        (lambda a, b=1, *, c=2: 0, ""), (lambda a, b=1, d=3, *, c=2: 0, ""), (lambda a, b=1, c=2: 0, ""),
        (lambda a, *, c=2: 0, "no b"), (lambda b=1, a=2, *, c=2: 0, "a stands elsewhere"),
        (lambda a, b=2, *, c=2: 0, "b=2, not 1"), (lambda a, b=1, *, c=2, d: 0, "needs d"),
        (lambda a, *, b=1, c=2: 0, "b is keyword-only"),
        (types.SimpleNamespace(), "takes no arguments here"),
    ],
)  # fmt: skip
def test_arguments_are_compared(ours, says):
    assert table.mismatch(f, ours) == says
