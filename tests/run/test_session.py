"""Parameters of a script: found without running it, converted to the default's type, and nothing else accepted."""

from __future__ import annotations

import pytest

from dist_sim.errors import ParameterError, UnknownNameError
from dist_sim.run.session import Session, check_declared, current_session, declared_params, param, split_assignments


def test_without_a_session_the_default_counts():
    assert current_session() is None
    assert param("scale", 1.5) == 1.5


@pytest.mark.parametrize(
    ("text", "default", "value"),
    [
        ("2", 1.0, 2.0), ("1e-3", 1.0, 1e-3), ("inf", 1.0, float("inf")), ("7", 1, 7), ("1e6", 1, 1_000_000),
        ("9007199254740993", 1, 9007199254740993), ("-3", 1, -3), ("true", False, True), ("0", True, False),
        ("OFF", True, False), ("a b=c", "x", "a b=c"), ("", "x", ""), ("12", "x", "12"),
    ],
)  # fmt: skip
def test_a_text_becomes_the_type_of_the_default(text, default, value):
    session = Session(parameters={"p": text})
    with session.active():
        found = param("p", default)
        assert current_session() is session
    assert found == value and type(found) is type(default)
    assert session.declared == {"p": value} and current_session() is None


@pytest.mark.parametrize(
    ("text", "default"),
    [("x", 1.0), ("", 1.0), ("nan", 1.0), ("1.5", 1), ("x", 1), ("inf", 1), ("maybe", True), ("2", True)],
)
def test_a_text_that_is_no_such_value_is_refused(text, default):
    with Session(parameters={"p": text}).active(), pytest.raises(ParameterError, match=f"--set p={text}: .* needs"):
        param("p", default)


def test_bad_defaults_are_refused():
    with pytest.raises(ParameterError, match="put the unit on the result"):
        param("p", [1])  # pyright: ignore[reportArgumentType]
    with Session().active():
        param("p", 1)
        param("p", 1)
        with pytest.raises(ParameterError, match="was 1 before"):
            param("p", 1.0)


@pytest.mark.parametrize("text", ["scale", "=1", "1a=2", "a b=2"])
def test_a_bad_assignment_is_refused(text):
    with pytest.raises(ParameterError, match="must be name=value"):
        split_assignments([text])


def test_assignments():
    assert split_assignments(["a=1", "b=x=y", " c =3"]) == {"a": "1", "b": "x=y", "c": "3"}
    with pytest.raises(ParameterError, match="given twice"):
        split_assignments(["a=1", "a=2"])


def test_parameters_are_found_without_running_the_script(tmp_path):
    (tmp_path / "beside.py").write_text("from dist_sim import param\nG = param(name='g', default=-5.0)\n")
    script = tmp_path / "script.py"
    script.write_text("import beside, numpy\nraise SystemExit\nfor k in range(3):\n    scale = ds.param('scale', 2 * 0.5)\n")
    found = declared_params(script)
    assert found.defaults == {"scale": "2 * 0.5", "g": "-5.0"} and not found.open
    check_declared({"g": "1"}, script)
    with pytest.raises(UnknownNameError, match="unknown parameter 'scael'. Did you mean 'scale'"):
        check_declared({"scael": "1"}, script)


@pytest.mark.parametrize(
    "text",
    ["for name in ('a', 'b'): ds.param(name, 1)", "from dist_sim import param as p; p('c', 1)", "ask = ds.param; ask('c', 1)"],
)
def test_where_more_may_be_asked_for_only_the_run_can_tell(tmp_path, text):
    script = tmp_path / "script.py"
    script.write_text(text)
    check_declared({"c": "1"}, script)
    session = Session(parameters={"c": "1"})
    with session.active():
        param("a", 1)
    with pytest.raises(UnknownNameError, match="unknown parameter 'c'"):
        session.check_all_asked()
