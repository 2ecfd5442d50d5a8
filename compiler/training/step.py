"""`training_step`: a network, a loss and an optimizer become a graph of one training step, which is a graph like any other.

    step = cc.training_step(cc.models.lenet5(), optimizer=cc.sgd(momentum=0.9))
    cc.export_onnx(step, "step.onnx")

Its inputs are the network's, `label`, `learning_rate`, `seed` where something is drawn at random, then weights and state by name; its
outputs `loss`, `accuracy` where the loss knows one, and `<name>.next` for every weight and state. The evaluation is the same without
the way back, with dropout off and stored statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from ...ir.donation import NEXT
from ...ir.errors import InvalidModel, UsageError
from ...ir.gradient import NodeMaker, gradients
from ...ir.graph import Graph, Node, fresh_name
from ...ir.ops.elementwise import IDENTITY, Identity
from ...ir.ops.leaf import INPUT, PARAM, Input
from ...ir.suggest import did_you_mean
from ...ir.terms import Term
from ...ir.types import TensorType
from .averages import AVERAGE, AVERAGED_STEPS, averaged, need_decay, share
from .losses import LOSSES, Loss
from .modes import dropped, drops, normalized, statistics_of
from .optimizers import Optimizer, Sgd

__all__ = ["NEXT", "OWN", "TrainingStep", "evaluation_step", "step_of", "trainable", "training_step"]

OWN = ("label", "learning_rate", "seed", "loss", "accuracy")


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """A step's graph. `weights` are the parameters that are its inputs, `statistics` those of them that no gradient moves, and `states`
    what else is kept, 0 at first; `averages` names for each weight and statistic the state that is its average, where there are averages.
    """

    graph: Graph
    weights: tuple[str, ...]
    statistics: tuple[str, ...]
    states: Mapping[str, TensorType]
    averages: Mapping[str, str] = field(default_factory=dict[str, str])


def training_step(
    net: Graph | Callable[[], Graph],
    loss: str = "cross_entropy",
    optimizer: Optimizer | None = None,
    frozen: Sequence[str] = (),
    clip_norm: float | None = None,
    label_smoothing: float = 0.0,
    average: float | None = None,
) -> Graph:
    """One step of training as a graph: of images, labels, weights and state it makes the loss and the next weights and state.

    net: the network, or what makes it.
    loss: cross_entropy, mean_squared or binary_cross_entropy.
    optimizer: `sgd(...)` or `adam(...)`; default: `sgd()`.
    frozen: names of parameters, or patterns as `conv1.*`, that stay as they are.
    clip_norm: the greatest length of all gradients together (Pascanu et al. 2013).
    label_smoothing: the share of a label that is spread over all classes (Szegedy et al. 2016).
    average: the decay of an average that is kept of each weight, and of each statistic, over the steps (Polyak & Juditsky 1992), as 0.99.

    Raises: UsageError for an unknown loss, or a pattern that no parameter has; InvalidModel for a network that the loss does not fit;
    UnsupportedOp for an op without a gradient on the way, with whether freezing what stands before it helps.
    """
    return step_of(_graph(net), loss, optimizer, frozen, clip_norm, label_smoothing, average).graph


def evaluation_step(net: Graph | Callable[[], Graph], loss: str = "cross_entropy") -> Graph:
    """Loss and accuracy as a graph, weights and statistics as inputs. Raises: as `training_step`."""
    graph = _graph(net)
    building = _Building.of(graph, loss, dict.fromkeys(trainable(graph)), evaluating=True)
    scored = building.scored(0.0)
    return building.finished(f"{graph.name}_evaluation", scored, building.maker.made)


def _graph(net: Graph | Callable[[], Graph]) -> Graph:
    return net if isinstance(net, Graph) else net()


def step_of(
    graph: Graph,
    loss: str = "cross_entropy",
    optimizer: Optimizer | None = None,
    frozen: Sequence[str] = (),
    clip_norm: float | None = None,
    label_smoothing: float = 0.0,
    average: float | None = None,
) -> TrainingStep:
    """As `training_step`, and what of it is what."""
    if not 0 <= label_smoothing < 1:
        raise UsageError(f"label_smoothing is {label_smoothing}, expected at least 0 and less than 1")
    if clip_norm is not None and not clip_norm > 0:
        raise UsageError(f"clip_norm is {clip_norm}, expected more than 0")
    need_decay(average)
    optimizer = Sgd() if optimizer is None else optimizer
    trained = _not_frozen(graph, frozen)
    building = _Building.of(graph, loss, dict.fromkeys(trained))
    outputs = building.scored(label_smoothing)
    updates = _Updates(building, optimizer, outputs["loss"], average)
    order = updates.made(clip_norm)
    outputs |= updates.outputs | building.running
    step = building.finished(f"{graph.name}_step", outputs, order)
    states = {node.name: node.typed for node in building.states}
    statistics = tuple(name.removesuffix(NEXT) for name in building.running)
    averages = {name: f"{name}.{AVERAGE}" for name in building.weights} if average else {}
    return TrainingStep(step, tuple(building.weights), statistics, states, averages)


def trainable(graph: Graph) -> list[Node]:
    """Floating parameters that are no constant of the network's definition, no statistic of a batch norm, and no single number unless it is
    said to be trained, as those of a PyTorch module are."""
    from ...ir.ops.norm import BATCH_NORM

    statistics = {operand for node in graph.nodes if node.kind is BATCH_NORM for operand in node.inputs[3:]}
    return [node for node in graph.params if node.typed.is_float and node not in statistics and _is_to_train(node)]


def _is_to_train(param: Node) -> bool:
    init: str = PARAM.of(param).init
    is_filled = param.weights is not None and param.weights.recipe.init == "full"
    return init == "trained" or (init != "constant" and param.typed.rank > 0 and not is_filled)


def _not_frozen(graph: Graph, frozen: Sequence[str]) -> list[Node]:
    """Raises: UsageError for a pattern that fits nothing, or where nothing is left to train."""
    all_ = trainable(graph)
    for pattern in frozen:
        if not any(fnmatchcase(node.name, pattern) for node in all_):
            raise UsageError(f"no parameter of @{graph.name} is called '{pattern}'" + did_you_mean(pattern, [node.name for node in all_]))
    left = [node for node in all_ if not any(fnmatchcase(node.name, pattern) for pattern in frozen)]
    if not all_:
        raise InvalidModel(f"@{graph.name} has no parameters, so nothing to train")
    if not left:
        raise UsageError(f"@{graph.name} has nothing left to train: all {len(all_)} parameters are frozen")
    return left


@dataclass(slots=True)
class _Building:
    """A step under construction: `new` has each node of the network in its training form."""

    graph: Graph
    loss: Loss
    maker: NodeMaker
    evaluating: bool
    new: dict[Node, Node] = field(default_factory=dict[Node, Node])
    training: dict[Node, Node] = field(default_factory=dict[Node, Node])
    weights: dict[str, Node] = field(default_factory=dict[str, Node])
    states: list[Node] = field(default_factory=list[Node])
    extra: list[Node] = field(default_factory=list[Node])
    running: dict[str, Node] = field(default_factory=dict[str, Node])
    seed: Node | None = None

    @staticmethod
    def of(graph: Graph, loss: str, trained: Mapping[Node, None], *, evaluating: bool = False) -> _Building:
        if loss not in LOSSES:
            raise UsageError(f"unknown loss '{loss}'" + did_you_mean(loss, LOSSES))
        if len(graph.outputs) != 1:
            raise InvalidModel(f"@{graph.name} returns {len(graph.outputs)} values; a loss is taken of one")
        graph = _renamed(graph)
        trained = {node: None for node in graph.params if node.name in {each.name for each in trained}}
        building = _Building(graph, LOSSES[loss], NodeMaker({node.name for node in graph.nodes} | set(OWN)), evaluating)
        building._forward(trained)
        return building

    def _forward(self, trained: Mapping[Node, None]) -> None:
        streams, self.maker.way = 0, "train"
        could = set(trainable(self.graph))
        for node in trained:
            self.training[node] = self.new[node] = self._as_input(node)
        for node in self.graph.nodes:
            self.maker.at = node
            if node in self.new:
                continue
            if not self.evaluating and drops(node):
                self.seed = self.seed or Node("seed", INPUT, Input(), (), TensorType("i32", ()))
                self.new[node] = dropped(node, self._term(node.inputs[0]), self.maker.term(self.seed), streams).value
                streams += 1
            elif (stored := statistics_of(node, self.training, could)) is not None:
                self._normalize(node, stored)
            else:
                self.new[node] = node.reading(tuple(self.new[operand] for operand in node.inputs))
        self.maker.at, self.maker.way = None, "back"

    def _normalize(self, node: Node, stored: tuple[Node, Node]) -> None:
        for each in stored:
            if each not in self.training:
                self.training[each] = self.new[each] = self._as_input(each)
        if self.evaluating:
            self.new[node] = node.reading(tuple(self.new[operand] for operand in node.inputs))
            return
        moved = (self.running.get(f"{each.name}{NEXT}", self.new[each]) for each in stored)  # read twice, moved twice
        operands = [*(self.new[each] for each in node.inputs[:3]), *moved]
        made, *following = normalized(node, tuple(map(self.maker.term, operands)), self.maker)
        self.new[node] = made.value
        self.running |= {f"{each.name}{NEXT}": term.value for each, term in zip(stored, following, strict=True)}

    def _as_input(self, node: Node) -> Node:
        made = Node(node.name, INPUT, Input(), (), node.typed, node.origin)
        self.weights[node.name] = made
        return made

    def _term(self, node: Node) -> Term:
        return self.maker.term(self.new[node])

    def input(self, name: str, type_: TensorType) -> Term:
        made = Node(name, INPUT, Input(), (), type_, self.maker.origin())
        self.extra.append(made)
        return self.maker.term(made)

    def scored(self, smoothing: float) -> dict[str, Node]:
        """Loss, and accuracy if there is one."""
        (out,) = self.graph.outputs
        scores = self._term(self.loss.scores(out))
        label = self.input("label", self.loss.label(scores.type))
        self.maker.scope = "loss"
        found, accuracy = self.loss.of(scores, label, smoothing)
        self.maker.scope = "update"  # from here on what belongs to no layer is the optimizer's
        return {"loss": found.value} | ({} if accuracy is None else {"accuracy": accuracy.value})

    @property
    def inputs(self) -> list[Node]:
        drawn = [] if self.seed is None else [self.seed]
        return [*(self.new[node] for node in self.graph.inputs), *self.extra, *drawn, *self.weights.values(), *self.states]

    def forward(self, outputs: Iterable[Node]) -> Graph:
        return Graph.of(self.graph.name, self.inputs, outputs, [*self.new.values(), *self.maker.made])

    def finished(self, name: str, outputs: Mapping[str, Node], order: Sequence[Node]) -> Graph:
        """The graph that returns these values by their names; one of two names, or that no op computes, is copied for the second."""
        names = {new: node.name for node, new in self.new.items() if new.name != node.name}
        results, copies = list[Node](), list[Node]()
        for result, node in outputs.items():
            if node in names or not node.inputs:
                node = Node(result, IDENTITY, Identity(), (node,), node.type, node.origin)
                copies.append(node)
            names[node] = result
            results.append(node)
        whole = Graph.of(name, self.inputs, results, [*self.new.values(), *order, *copies])
        return whole.renamed(names)


def _renamed(graph: Graph) -> Graph:
    """The network with its own values out of the way of the step's names.

    Raises: InvalidModel for an input or parameter of such a name, which cannot give way.
    """
    taken = {node.name for node in graph.nodes} | set(OWN)
    if bad := next((node for node in (*graph.inputs, *graph.params) if node.name in OWN or node.name.endswith(NEXT)), None):
        raise InvalidModel(f"{bad.where} has a name that the step needs for itself; rename it")

    def renamed(node: Node, operands: tuple[Node, ...]) -> Node:
        node = node.reading(operands)
        return node.like(name=fresh_name(node.name, taken)) if node.name in OWN else node

    return graph.rebuild(renamed)


def _cut(forward: Graph, start: Node) -> str:
    """What ends the way from here to the loss, in words: the first op behind it whose result does not move with what it reads."""
    behind = {start}
    for node in forward.nodes:
        if not behind.isdisjoint(node.inputs):
            if node.kind.gradient is None:
                return f", since {node.where} behind it has no gradient"
            behind.add(node)
    return ""


class _Updates:
    """Each weight's gradient and what follows from it, as soon as it can be computed."""

    def __init__(self, building: _Building, optimizer: Optimizer, loss: Node, average: float | None) -> None:
        self.building, self.optimizer, self.maker, self.average = building, optimizer, building.maker, average
        self.newest: Term | None = None
        self.outputs: dict[str, Node] = {}
        statistics = {name.removesuffix(NEXT) for name in building.running}
        wanted = [made for name, made in building.weights.items() if name not in statistics]
        forward = building.forward([loss, *building.running.values()])
        self.first = len(self.maker.made)
        self.loss = loss
        self.found = gradients(forward, loss, wanted, self.maker).of
        if still := next((node for node in wanted if node not in self.found), None):
            raise InvalidModel(f"the loss does not change with %{still.name}{_cut(forward, still)}; freeze it")

    def made(self, clip_norm: float | None) -> list[Node]:
        """All nodes that were made, in an order in which a weight's update follows its gradient."""
        maker = self.maker
        before, backward = maker.made[: self.first], maker.made[self.first :]
        scale = self._scale(clip_norm)
        rate = self.building.input("learning_rate", self.loss.typed)
        shared = self._shared()
        self._begin_averages()
        common = maker.made[self.first + len(backward) :]
        after: dict[Node, list[Node]] = {}
        for weight, gradient in self.found.items():
            start = len(maker.made)
            self._update(weight, gradient, scale, rate, shared)
            after.setdefault(gradient, []).extend(maker.made[start:])
        if scale is not None:
            return [*before, *backward, *common, *(node for nodes in after.values() for node in nodes)]
        return [*before, *common, *(each for node in backward for each in (node, *after.get(node, ())))]

    def _scale(self, clip_norm: float | None) -> Term | None:
        """What shortens all gradients together; of them together nothing is known before the last."""
        if clip_norm is None:
            return None
        terms = [self.maker.term(gradient) for gradient in self.found.values()]
        squares = [(g * g).sum(*range(g.rank)) for g in terms]
        total = squares[0]
        for square in squares[1:]:
            total = total + square
        return (total.number(clip_norm) / (total.op("sqrt") + 1e-6)).op("minimum", 1.0)

    def _shared(self) -> dict[str, Term]:
        kept = {name: self._state(name, self.loss.typed) for name in self.optimizer.shared}
        following = self.optimizer.advanced(kept)
        self.outputs |= {f"{name}{NEXT}": term.value for name, term in following.items()}
        return following

    def _begin_averages(self) -> None:
        """Of statistics, which no gradient moves; those of weights stand behind their updates."""
        if self.average is None:
            return
        steps = self._state(AVERAGED_STEPS, self.loss.typed) + 1.0
        self.outputs[f"{AVERAGED_STEPS}{NEXT}"] = steps.value
        self.newest = share(self.average, steps)
        for name, following in self.building.running.items():
            self._keep_average(name.removesuffix(NEXT), self.maker.term(following))

    def _keep_average(self, name: str, following: Term) -> None:
        if self.newest is not None:
            average = self._state(f"{name}.{AVERAGE}", following.type)
            self.outputs[f"{name}.{AVERAGE}{NEXT}"] = averaged(average, following, self.newest).value

    def _state(self, name: str, type_: TensorType) -> Term:
        """Raises: InvalidModel for a name that the network has itself."""
        if name in self.building.graph.by_name:
            raise InvalidModel(f"{self.building.graph.by_name[name].where} has a name that the step's own state needs; rename it")
        node = Node(name, INPUT, Input(), (), type_, self.maker.origin())
        self.building.states.append(node)
        return self.maker.term(node)

    def _update(self, weight: Node, gradient: Node, scale: Term | None, rate: Term, shared: Mapping[str, Term]) -> None:
        self.maker.at, self.maker.way = weight, "next"
        g = self.maker.term(gradient) if scale is None else self.maker.term(gradient) * scale
        states = {name: self._state(f"{weight.name}.{name}", weight.typed) for name in self.optimizer.states}
        following, kept = self.optimizer.updated(self.maker.term(weight), g, rate, states, shared)
        self._keep_average(weight.name, following)
        self.maker.at = None
        self.outputs[f"{weight.name}{NEXT}"] = following.value
        self.outputs |= {f"{weight.name}.{name}{NEXT}": term.value for name, term in kept.items()}
