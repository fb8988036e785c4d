"""`Simulator`: create, connect, simulate, in NEST's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final
from uuid import uuid4

import brainunit as u
import numpy as np

from dist_sim import kernels, partition, units
from dist_sim.core import environ
from dist_sim.errors import ConnectError, DeviceError, ParameterError, UnknownNameError
from dist_sim.nest.devices import DEVICES, Meter, SpikeRecorder, TrainGenerator
from dist_sim.nest.neurons import NEURONS, NESTNeuron
from dist_sim.nest.neurons.shape import receptor_unit
from dist_sim.nest.synapses import Synapse
from dist_sim.network.connection import Connection
from dist_sim.network.rules import Rule
from dist_sim.run.names import checked_name
from dist_sim.run.planning import stop_if_planning
from dist_sim.simulator import connections
from dist_sim.simulator.arguments import (
    either,
    named,
    read_delay,
    read_recorder,
    read_rule,
    read_synapse,
    read_weight,
    refuse_weights,
)
from dist_sim.simulator.assembly import Description, Sampling
from dist_sim.simulator.connections import SynapseCollection
from dist_sim.simulator.nodes import Node, NodeView
from dist_sim.simulator.released import with_releases
from dist_sim.simulator.result import SimulationResult
from dist_sim.simulator.setting import checked_setting, drawn_settings, neuron_draws
from dist_sim.simulator.simulation import Simulation
from dist_sim.simulator.stimuli import Stimulus
from dist_sim.simulator.wiring import (
    Call,
    by_model,
    neurons_of,
    recorded,
    refuse_direction,
    refuse_senders,
    sampled,
    stimulus,
    unit_of,
)

MODELS: Mapping[str, type] = {**NEURONS, **DEVICES}


@final
class Simulator:
    """A network and its simulation.

    Args:
        dt: step [time].
        seed: of every random number, 0 to 2**64 - 1. Seed and script determine the network and its spikes, on any placement.
        devices: number of devices, devices or a mesh; None takes those of `dist-sim run --devices`, else one.
        precision: 32 or 64 bits for states and weights, 32 alone on TPUs; None takes that of `ds.environ`, which is 32 unless it
            is set there: JAX_ENABLE_X64 changes programs of Modules alone.
        placement: who owns what: 'block', 'round_robin', 'balanced' or an object of `dist_sim.partition`.
        exchange: how spikes travel: 'mask', 'ids', 'memory', 'mpi' or an object of `dist_sim.partition`; None takes 'memory' for
            CPU devices of one process, 'mpi' for those of several that mpirun has started, else 'mask'. The spikes are the same.
        backend: of the kernels: 'native', 'cuda', 'reference'; None takes the fastest there is.
        chunk: largest time between two visits of the host [time]; None chooses.
        name: of its results, where a script has several runs; None for a number.

    Raises:
        ParameterError, UnitError, UnknownNameError, DeviceError: an argument that cannot be met.
    """

    def __init__(
        self,
        *,
        dt: Any = 0.1 * u.ms,
        seed: int = 0,
        devices: Any = None,
        precision: int | None = None,
        placement: Any = "block",
        exchange: Any = None,
        backend: str | None = None,
        chunk: Any = None,
        name: str | None = None,
    ) -> None:
        # First of all: on CPU the number of devices can only be set before JAX is used, and printing a quantity uses it.
        self.mesh = partition.run_mesh(devices)
        step = units.magnitude(dt, "ms", f"Simulator(dt={dt})")
        if step.ndim or not 0 < step < np.inf or abs(step * 1000 - round(float(step) * 1000)) > 1e-9:
            raise ParameterError(f"Simulator(dt={dt}): must be a positive multiple of 1 us.")
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
            raise ParameterError(f"Simulator(seed={seed!r}): must be a whole number from 0 to 2**64 - 1.")
        # Not JAX's own switch: JAX_ENABLE_X64 in somebody's profile must not give another result.
        precision = environ.get("precision", 32) if precision is None else precision
        if precision not in (32, 64):
            raise ParameterError(f"Simulator(precision={precision!r}): 32 or 64 bits.")
        if precision == 64 and self.mesh.devices.flat[0].platform == "tpu":
            raise DeviceError(
                "Simulator(precision=64): TPUs have no 64-bit floats; what stands for them there is not IEEE's, and spikes would "
                "be others than on CPUs and GPUs. Use precision=32."
            )
        self.dt, self.seed, self.precision = float(step), int(seed), precision
        self.placement = named("placement", placement, partition.PLACEMENTS, "owner")
        exchange = partition.usual_exchange(self.mesh) if exchange is None else exchange
        self.exchange = named("exchange", exchange, partition.EXCHANGES, "grown").on(self.mesh)
        platform = self.mesh.devices.flat[0].platform
        self.backend = kernels.choose(backend, platform)
        self._builder = kernels.choose_builder(self.backend, platform)
        longest = units.magnitude(0 * u.ms if chunk is None else chunk, "ms", f"Simulator(chunk={chunk})")
        if chunk is not None and (longest.ndim or not 0.5 * self.dt <= longest < np.inf):
            raise ParameterError(f"Simulator(chunk={chunk}): one time of at least one step of {self.dt:g} ms.")
        self.chunk = None if chunk is None else int(units.steps_of(float(longest), self.dt))
        self.name = None if name is None else checked_name(name, f"Simulator(name={name!r})")
        # Results, and what `create` returned, are known to belong together, also when they come from a file.
        self._network = uuid4().hex
        self._nodes: list[Node] = []
        self._own: set[Node] = set()
        self._models: list[type[NESTNeuron]] = []  # in order of first use
        self._num_ids = 0
        self._connections: list[Connection] = []
        self._stimuli: list[Stimulus] = []
        self._recorded: dict[Node, list[tuple[int, np.ndarray]]] = {}
        self._connected: set[Node] = set()
        self._sampled: list[Sampling] = []
        self._num_connects = 0
        self._simulation: Simulation | None = None

    # ---- create ----

    def create(
        self, model: str | type, size: int = 1, params: Mapping[str, Any] | None = None, *, name: str | None = None, **more: Any
    ) -> NodeView:
        """Makes `size` neurons or devices of a model.

        Args:
            model: a model, or its name.
            params: parameters and initial values: one quantity for all, an array with one per neuron, or a distribution. They may
                also be given as keywords.
            name: of the population, in summaries and files; by default the model's name and a number.

        Raises:
            UnknownNameError: model or parameter. UnitError, ParameterError: a value that does not fit.
        """
        self._open("create")
        found = MODELS.get(model) if isinstance(model, str) else model
        if not isinstance(found, type) or (found.__name__ not in MODELS and not issubclass(found, NESTNeuron)):
            raise UnknownNameError("model", model if isinstance(model, str) else getattr(model, "__name__", model), MODELS)
        label = found.__name__
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            raise ParameterError(f"create({label}, {size!r}): the size must be a whole number of at least 1.")
        size = int(size)
        if params is not None and not isinstance(params, Mapping):
            wanted = "names and values are needed, as in dict(tau_m=10 * u.ms)"
            raise ParameterError(f"create({label}, params={params!r:.60}): {wanted}.")
        given = dict(params or {})
        for key in more:
            if key in given:
                raise ParameterError(f"create({label}, {key}=...): given twice, in params and as a keyword.")
        given |= more
        same = sum(n.model is found for n in self._nodes)
        name = f"{label}_{same}" if name is None else checked_name(name, f"create({label}, name={name!r})")
        if any(n.name == name for n in self._nodes):
            raise ParameterError(f"create({label}, name={name!r}): the name is taken.")
        has_ids = issubclass(found, NESTNeuron | TrainGenerator)
        if has_ids and self._num_ids + size >= 2**32:
            raise ParameterError(f"create({label}, {size}): more than 2**32 neurons.")
        draws, device = {}, None
        if issubclass(found, NESTNeuron):
            (draws, axes), given = neuron_draws(found, given, self._num_ids, size, self.seed), {}
        else:
            given, axes = drawn_settings(found, given, size, name, self.seed), {}
            device = found(size, self.dt, given)
        first_id = self._num_ids if has_ids else -1
        node = Node(
            name=name, model=found, size=size, first_id=first_id, draws=draws, given=given, device=device, tell=self._told,
            network=self._network, axes=axes,
        )  # fmt: skip
        self._num_ids += size if has_ids else 0
        self._nodes.append(node)
        self._own.add(node)
        if issubclass(found, NESTNeuron) and found not in self._models:
            self._models.append(found)
        return NodeView((node,), np.arange(size) + max(node.first_id, 0))

    # ---- connect ----

    def connect(
        self,
        pre: NodeView | None = None,
        post: NodeView | None = None,
        /,
        rule: Rule | type[Rule] | str | None = None,
        *,
        weight: Any = None,
        delay: Any = None,
        synapse: Any = "static_synapse",
        receptor_type: int | None = None,
        allow_autapses: bool = True,
        allow_multapses: bool = True,
        **rule_options: Any,
    ) -> None:
        """Connects neurons and generators to neurons, neurons to a spike_recorder, and a meter to neurons.

        Args:
            pre, post: may be given as keywords too, unless the rule has options of these names (explicit_edges).
            rule: a rule (`ds.fixed_indegree(100)`), or its name with its options as keywords; all_to_all by default.
            weight: of each synapse, in the unit of the target's input (pA or mV): one quantity, an array in the order that the
                rule documents, or a distribution (`ds.dist.Normal(...)`). By default 1.
            delay: of each synapse [time], likewise; rounded to the nearest step. By default 1 ms.
            synapse: a model with its parameters (`ds.stdp_synapse(Wmax=200 * u.pA)`, which may hold weight and delay too), its
                name, or a mapping with NEST's names (`{"synapse_model": "stdp_synapse", "lambda": 0.1}`).

        Raises:
            ConnectError: a pair that cannot be connected, or a rule that cannot be met.
            UnitError, ParameterError, UnknownNameError: an argument that does not fit.
        """
        self._open("connect")
        pre, post = (rule_options.pop(n, None) if side is None else side for n, side in (("pre", pre), ("post", post)))
        for side, label in ((pre, "pre"), (post, "post")):
            if not isinstance(side, NodeView):
                raise ConnectError(f"connect({label}={type(side).__name__}): what `create` returned is needed.")
        assert isinstance(pre, NodeView) and isinstance(post, NodeView)
        where = f"connect({pre.name}, {post.name})"
        if not self._own.issuperset(pre.nodes + post.nodes):
            raise ConnectError(f"{where}: a side was created by another Simulator.")
        model = read_synapse(synapse, where)
        weight, delay = either("weight", weight, model.weight, where), either("delay", delay, model.delay, where)
        chosen = read_rule(rule, rule_options, where)
        source, target = pre.nodes[0], post.nodes[0]
        for sender in pre.nodes:
            for receiver in post.nodes:
                refuse_direction(sender, receiver, where)
        synaptic = source.emits_spikes and target.is_neuron
        if model.on_pre is not None and not synaptic:
            raise ConnectError(
                f"{where}: {type(model).__name__} joins neurons or spike generators to neurons; a {source.model.__name__} to a "
                f"{target.model.__name__} has no synapses that could change."
            )
        if model.weight_recorder is not None and not synaptic:
            raise ConnectError(f"{where}: a {source.model.__name__} has no synapses whose weights could be recorded.")
        number = self._num_connects
        call = Call(
            pre=pre, post=post, receptor_type=receptor_type, rule=chosen, weight=weight, delay=delay,
            multapses=bool(allow_multapses), number=number, where=where, dt=self.dt, seed=self.seed,
            backend=self._builder, models=self._models,
        )  # fmt: skip
        if issubclass(target.model, SpikeRecorder):
            self._recorded.setdefault(post.node, []).extend(recorded(call))
        elif issubclass(source.model, Meter):
            self._sampled += sampled(call, self._sampled)
        elif synaptic:
            connection = self._synapses(
                pre, post, receptor_type, chosen, weight, delay, model, allow_autapses, allow_multapses, number, where
            )
            connection.check(self.dt)
            self._connections += by_model(connection, post, self._models)
        else:
            self._stimuli.append(stimulus(call))
        self._connected |= {*pre.nodes, *post.nodes}
        # Last: a call that was refused must not move the random numbers of those after it.
        self._num_connects += 1

    def get_connections(
        self, source: NodeView | None = None, target: NodeView | None = None, synapse: str | type | None = None
    ) -> SynapseCollection:
        """The synapses from some neurons or spike generators to some neurons; None: all. Those of stimulating devices and
        recorders are not among them.

        Args:
            synapse: of this model only, or its name.

        Returns:
            The synapses, with `source`, `target`, `delay` and `get("weight")`: what changes as it is when asked for.

        Raises:
            ConnectError: a side that is not of this Simulator. UnknownNameError: no such model.
        """
        for side, label in ((source, "source"), (target, "target")):
            if side is not None and (not isinstance(side, NodeView) or not self._own.issuperset(side.nodes)):
                raise ConnectError(f"get_connections({label}=...): what `create` of this Simulator returned is needed.")
        pre, post = (None if side is None else _ids(side) for side in (source, target))
        name = synapse.__name__ if isinstance(synapse, type) else synapse
        described = self._description() if self._simulation is None else self._simulation.description
        return connections.find(described, lambda: self._simulation, pre, post, name)

    def _synapses(
        self,
        pre: NodeView,
        post: NodeView,
        receptor_type: int | None,
        rule: Rule,
        weight: Any,
        delay: Any,
        synapse: Synapse,
        autapses: bool,
        multapses: bool,
        number: int,
        where: str,
    ) -> Connection:
        receptor, unit = unit_of(post, receptor_type, weight, where)
        refuse_senders(pre, post, receptor, synapse, where)
        initial = read_weight(units.quantity(synapse.default_weight, unit) if weight is None else weight, unit, where)
        for kind in neurons_of(post, where):
            refuse_weights(kind, receptor, initial, where)
        watched_by = read_recorder(synapse.weight_recorder, self._own, where)
        for c in self._connections if watched_by is not None else ():
            known = receptor_unit(self._models[c.group], c.receptor)
            if c.watched_by == watched_by and known != unit:
                raise ConnectError(f"{where}: {watched_by} records weights in {known}. Create another.")
        return Connection(
            pre_ids=pre.ids,
            post_ids=post.ids,
            group=-1,  # that of each part: `by_model`
            rule=rule,
            weight=initial,
            delay=read_delay(delay, where),
            autapses=bool(autapses),
            multapses=bool(multapses),
            stream=number,
            where=where,
            receptor=receptor,
            synapse=type(synapse).__name__,
            plasticity=synapse.changing(initial, unit, where),
            watched_by=watched_by,
        )

    def _told(self, node: Node, ids: np.ndarray, name: str, value: Any) -> Callable[[], None]:
        self._open(f"{node.name}.{name}")
        return checked_setting(node, ids, name, value, dt=self.dt, seed=self.seed, connected=node in self._connected)

    def _open(self, what: str) -> None:
        if self._simulation is not None:
            raise ConnectError(f"{what}: the network is built. Make a new Simulator to change it.")

    # ---- simulate ----

    def simulate(self, duration: Any) -> SimulationResult:
        """Simulates from time 0; a second call starts again from the initial state.

        Args:
            duration: [time], a multiple of dt.

        Raises:
            ParameterError, UnitError: a duration that cannot be simulated. ConnectError: nothing to simulate.
        """
        steps = self._steps(duration)
        if self._simulation is None:
            self._simulation = Simulation(self._description(), self.name)
        else:
            self._simulation.restart()
        return self._simulation.advance(steps)

    def cont(self, duration: Any) -> SimulationResult:
        """Goes on from where the last call ended; the result covers everything since time 0."""
        steps = self._steps(duration)
        if self._simulation is None:
            self._simulation = Simulation(self._description(), self.name)
        return self._simulation.advance(steps)

    def _steps(self, duration: Any) -> int:
        steps = units.whole_steps(duration, self.dt, "simulate(duration)")
        stop_if_planning(self._description, steps)
        return steps

    def _description(self) -> Description:
        if not any(n.is_neuron for n in self._nodes):
            raise ConnectError("simulate: there are no neurons. Create some first.")
        described = Description(
            dt=self.dt,
            seed=self.seed,
            precision=self.precision,
            mesh=self.mesh,
            placement=self.placement,
            exchange=self.exchange,
            backend=self.backend,
            builder=self._builder,
            chunk=self.chunk,
            nodes=tuple(self._nodes),
            num_ids=self._num_ids,
            connections=tuple(self._connections),
            stimuli=tuple(self._stimuli),
            recorded={node: tuple(parts) for node, parts in self._recorded.items()},
            sampled=tuple(self._sampled),
        )
        return with_releases(described)


def _ids(side: NodeView) -> np.ndarray:
    """Global ids; devices without ids have no synapses."""
    return side.ids if side.nodes[0].first_id >= 0 else np.zeros(0, dtype=np.int64)
