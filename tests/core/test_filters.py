"""Filters select States and Modules by kind, tag and place, and mean what brainstate's of the same name mean."""

import jax.numpy as jnp
import pytest

from dist_sim.core import HiddenState, Module, ParamState, State
from dist_sim.core.filters import All, Any, Not, OfType, PathContains, WithTag
from dist_sim.errors import ParameterError

W, B, V, K = ("layers", 0, "w"), ("layers", 0, "b"), ("layers", 1, "v"), ("k",)
EVERYTHING = {W, B, V, K}


class Layer(Module):
    def __init__(self, **states):
        super().__init__()
        vars(self).update(states)


def model(kinds=(State, ParamState, HiddenState), base=Layer):
    plain, param, hidden = kinds
    weights = base(w=param(jnp.zeros(1), tag="slow"), b=param(jnp.zeros(1)))
    return base(layers=[weights, base(v=hidden(jnp.zeros(1), tag="fast"))], k=plain(jnp.zeros(1), tag="slow"))


CASES = {
    "everything": (..., EVERYTHING),
    "true": (True, EVERYTHING),
    "none": (None, set()),
    "false": (False, set()),
    "class": (ParamState, {W, B}),
    "OfType": (OfType(HiddenState), {V}),
    "tag": ("slow", {W, K}),
    "WithTag": (WithTag("fast"), {V}),
    "function": (lambda path, state: path[-1] in "wk", {W, K}),
    "path": (PathContains(0), {W, B}),
    "path of several": (PathContains("layers"), {W, B, V}),
    "Not": (Not(ParamState), {V, K}),
    "All": (All(ParamState, "slow"), {W}),
    "All of none": (All(), EVERYTHING),
    "Any": (Any(HiddenState, "slow"), {W, V, K}),
    "Any of none": (Any(), set()),
    "list": ([HiddenState, "slow"], {W, V, K}),
    "tuple": ((HiddenState, "slow"), {W, V, K}),
    "all together": (Not(All(Any("slow", "fast"), [PathContains(0), lambda path, state: len(path) == 1])), {B, V}),
}


@pytest.mark.parametrize("wanted, paths", CASES.values(), ids=CASES)
def test_a_filter_selects(wanted, paths):
    assert set(model().states(wanted)) == paths
    # Of several, the first that fits: what Not leaves is the rest.
    first, rest = model().states(wanted, ...)
    assert set(first) == paths and set(rest) == EVERYTHING - paths
    assert set(model().states(Not(wanted))) == EVERYTHING - paths


@pytest.mark.parametrize("name", CASES)
def test_as_brainstate(name):
    bst = pytest.importorskip("brainstate")
    ours = (State, ParamState, HiddenState)
    theirs = dict(zip(ours, (bst.State, bst.ParamState, bst.HiddenState), strict=True))

    class Node(bst.nn.Module):
        def __init__(self, **states):
            super().__init__()
            vars(self).update(states)

    def translated(x):
        if isinstance(x, OfType):
            return bst.util.filter.OfType(theirs[x.type])
        if isinstance(x, WithTag):
            return bst.util.filter.WithTag(x.tag)
        if isinstance(x, PathContains):
            return bst.util.filter.PathContains(x.key)
        if isinstance(x, Not):
            return bst.util.filter.Not(translated(x.filter))
        if isinstance(x, (All, Any)):
            return getattr(bst.util.filter, type(x).__name__)(*map(translated, x.filters))
        if isinstance(x, (list, tuple)):
            return type(x)(map(translated, x))
        return theirs.get(x, x) if isinstance(x, type) else x

    wanted, paths = CASES[name]
    assert set(model(tuple(theirs.values()), Node).states(translated(wanted))) == paths


def test_filters_select_modules():
    net = model()
    assert set(net.nodes(PathContains(1))) == {("layers", 1)}
    net.layers[1].tag = "recurrent"
    assert set(net.nodes("recurrent")) == {("layers", 1)}


def test_filters_are_values():
    assert Not(All("a", ParamState)) == Not(All("a", ParamState)) != Not(Any("a", ParamState))
    assert hash(All("a", PathContains(0))) == hash(All("a", PathContains(0)))


@pytest.mark.parametrize(
    "make", [lambda: Module().states(3), lambda: Not(3), lambda: All("a", 3), lambda: Module().states([..., 3]), lambda: Any([3])]
)
def test_what_is_no_filter_is_refused(make):
    with pytest.raises(ParameterError, match="3.*a filter is a class, a tag"):
        make()
