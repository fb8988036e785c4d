"""A smaller network of the same kind: fewer neurons of each population, each with as many synapses as it had."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dist_sim.kernels import build
from dist_sim.network import Connection
from dist_sim.network.rules import (
    Rule,
    explicit_edges,
    fixed_indegree,
    fixed_outdegree,
    fixed_total_number,
    one_to_one,
    pairwise_bernoulli,
    pairwise_poisson,
)
from dist_sim.simulator.assembly import Description, Sampling
from dist_sim.simulator.nodes import Node

_NONE = -1


def scaled(d: Description, fraction: float) -> Description:
    """The first neurons of each population, at least one, joined by synapses that are drawn by the same rules, in the same number
    for each neuron. Its neurons fire otherwise; what a synaptic event or the update of a neuron costs is what it costs in `d`.
    """
    new_id, nodes, count = np.full(d.num_ids, _NONE, dtype=np.int64), [], 0
    for node in d.nodes:
        kept = max(1, round(node.size * fraction)) if node.is_neuron else node.size
        if node.first_id >= 0:
            new_id[node.first_id : node.first_id + kept] = count + np.arange(kept)
            node, count = _cut(node, kept, count), count + kept
        nodes.append(node)
    of = dict(zip(d.nodes, nodes, strict=True))
    return replace(
        d,
        nodes=nodes,
        num_ids=count,
        connections=[_joined(c, new_id) for c in d.connections],
        stimuli=[replace(k, node=of[k.node], edges=_driven(k.edges, new_id)) for k in d.stimuli],
        recorded={},
        sampled=[_sampled(s, of[s.meter], _kept(s.ids, new_id)) for s in d.sampled],
    )


def _sampled(s: Sampling, meter: Node, ids: np.ndarray) -> Sampling:
    return replace(s, meter=meter, ids=ids, number=np.zeros_like(ids), order=np.arange(len(ids)))


def _cut(node: Node, size: int, first_id: int) -> Node:
    draws = {
        name: draw if draw.values is None else replace(draw, values=draw.values[:size], shape=(size,))
        for name, draw in node.draws.items()
    }
    return replace(node, size=size, first_id=first_id, draws=draws)


def _kept(ids: np.ndarray, new_id: np.ndarray) -> np.ndarray:
    """New ids of those that are left; where none is, of the first neuron before."""
    found = new_id[ids]
    if (found != _NONE).any():
        return found[found != _NONE]
    before = new_id[: ids[0] + 1]
    return before[before != _NONE][-1:]


def _joined(c: Connection, new_id: np.ndarray) -> Connection:
    pre, post, degree = _kept(c.pre_ids, new_id), _kept(c.post_ids, new_id), c.mean_indegree()
    rule: Rule = fixed_indegree(max(1, round(degree)))
    few = degree > len(pre) / 2  # too few sources to be all different
    match c.rule:
        case fixed_total_number():
            rule = fixed_total_number(round(degree * len(post)))
        case fixed_outdegree() if c.rule.outdegree <= len(post) / 2:
            rule = c.rule
        case pairwise_bernoulli() if not few:
            rule = pairwise_bernoulli(degree / len(pre))
        case pairwise_poisson():
            rule = pairwise_poisson(degree / len(pre))
        case one_to_one():
            rule = one_to_one() if len(pre) == len(post) else rule
        case _:
            pass
    listed = isinstance(c.rule, explicit_edges)
    return replace(
        c, pre_ids=pre, post_ids=post, rule=rule, weight=_spread(c.weight), delay=_spread(c.delay), autapses=True,
        multapses=c.multapses or few or listed or isinstance(rule, fixed_total_number), watched_by=None,
    )  # fmt: skip


def _driven(c: Connection, new_id: np.ndarray) -> Connection:
    """From generators, which all stay."""
    post = _kept(c.post_ids, new_id)
    if not isinstance(c.rule, one_to_one | explicit_edges):
        rule: Rule = c.rule
    else:
        rule = fixed_indegree(max(1, round(c.mean_indegree())))
    return replace(c, post_ids=post, rule=rule, weight=_spread(c.weight))


def _spread(draw: build.Draw) -> build.Draw:
    """Numbers of the same range, where they were listed."""
    if draw.values is None:
        return draw
    kind = build.CONSTANT if draw.low == draw.high else build.UNIFORM_REAL
    return build.Draw(kind=kind, a=draw.low, b=draw.high, low=draw.low, high=draw.high)
