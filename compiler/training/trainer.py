"""`Trainer`: a network that learns, batch by batch. Weights and state are arrays by name between steps."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from ...backends.reference import stream
from ...ir.binding import batch_names, specialize
from ...ir.donation import aligned, following, in_order
from ...ir.errors import ConvcError, InvalidInput, UsageError
from ...ir.graph import Graph, Node
from ...ir.ops.norm import BATCH_NORM
from ...ir.printer import print_graph
from ...ir.types import DTYPES, Array, TensorType
from ...passes.recompute import step_within
from ..engines.engine import Run
from ..engines.table import engines_named
from ..files.checkpoint_names import Checkpoint, in_pytorch
from .averages import AVERAGED_STEPS, is_average
from .history import History, LearnedStep, Score
from .initial import begun, holding
from .optimizers import Optimizer
from .step import NEXT, TrainingStep, evaluation_step, step_of

__all__ = ["Diverged", "Score", "Trainer"]


class Diverged(ConvcError):
    """A loss that is no number any more."""

    exit_code = 1


class Trainer:
    """Trains a network from drawn weights, or from those that it was given.

        trainer = cc.Trainer(cc.models.lenet5(), optimizer=cc.sgd(momentum=0.9), engine="onnx")
        score = trainer.step(images, labels, learning_rate=0.01)
        cc.export_onnx(trainer.network(), "trained.onnx")

    `net`, `loss`, `optimizer`, `frozen`, `clip_norm`, `label_smoothing` and `average` are those of `training_step`; it runs in `engine` by
    so many `threads` (default: one a physical core). With an `average`, `evaluate`, `network` and `weights` are of averaged weights and
    statistics; `values` has those of the last step too. `init` is how weights are drawn that nobody gave, such as "he"; default: as each
    layer says.

    What is drawn, dropout too, hangs on `seed` and the number of the step alone: the same steps give the same bits, with any number of
    threads. Steps of `batch` images have a program of their own, which is faster and sooner compiled; those of other sizes share another,
    whose sums may round otherwise. With a share of `memory` a step keeps less between its halves and computes it again, to the same bits
    (`recomputed` says what that came to). `in_place` each step writes over the weights and state of the one
    before, which saves their memory and a copy; no bit changes, but a step that fails leaves no weights (`torn`): go on with `restore`,
    and with `careful` set, by which a step leaves what it is given, to learn at which node it fails.

    `history` has the score of each step, and of what was evaluated: `history.plot()` draws them.

    Raises: as `training_step`; BackendMissing for an engine that is not here; UsageError for a share of memory that cannot be reached, or
    an engine that writes over nothing.
    """

    def __init__(
        self,
        net: Graph | Callable[[], Graph],
        loss: str = "cross_entropy",
        optimizer: Optimizer | None = None,
        frozen: Sequence[str] = (),
        clip_norm: float | None = None,
        label_smoothing: float = 0.0,
        engine: str = "tvm",
        threads: int | None = None,
        init: str | None = None,
        seed: int = 0,
        batch: int | None = None,
        memory: float | None = None,
        *,
        in_place: bool = False,
        average: float | None = None,
    ) -> None:
        self.graph = begun(net if isinstance(net, Graph) else net(), init, seed)
        self.batch = batch
        self.loss, self.engine, self.threads, self.seed = loss, engine, threads, seed
        self.made: TrainingStep = step_of(self.graph, loss, optimizer, frozen, clip_norm, label_smoothing, average)
        self.donated: Mapping[str, str] = {}
        self.torn = False
        self.careful = False  # in place too, a step leaves what it was given: one that fails says where, and the weights stay
        if in_place:
            self.donated = _donated(self.made.graph, engine)
            self.made = replace(self.made, graph=in_order(self.made.graph, self.donated))
        self.recomputed = None if memory is None else step_within(self.made.graph, memory, batch, self.donated)
        floats = (node for node in self.graph.params if node.weights is not None and node.typed.is_float)
        self.frozen = {node.name: np.array(node.weights.array()) for node in floats if node.weights and node.name not in self.made.weights}
        self.values: dict[str, Array] = self._own(self.start())
        self.steps = 0
        self.history = History(self.graph.name)

    def __repr__(self) -> str:
        return f"<trainer of {self.history.headline}>"

    def step(self, images: Array, labels: Array, learning_rate: float) -> Score:
        """One step on a batch: `images` as the network takes them, `labels` [N] or what the loss takes, at this `learning_rate`.

        Raises: InvalidInput for labels outside the classes, or one number a channel for a batch norm; Diverged for a loss that is no
        number, or a weight that becomes none: the weights are then those before the step, unless it computes in place; UsageError
        where there are none, and for a learning rate that is no number.
        """
        self._check_whole()
        if not len(images):
            raise InvalidInput("there is no image to learn from")
        if not math.isfinite(learning_rate):
            raise UsageError(f"the learning rate is {learning_rate}, expected a finite number")
        feed = self._data(images, labels) | self.values
        self.check_norms(len(images))
        if self.careful:
            feed |= self._own(self.values)
        feed["learning_rate"] = np.array(learning_rate, DTYPES[self.made.graph.by_name["learning_rate"].typed.dtype])
        if "seed" in self.made.graph.by_name:
            feed["seed"] = np.array(self._seed(), np.int32)
        self.torn = bool(self.donated) and not self.careful
        results = (self._step_of_batch if len(images) == self.batch else self._step)(feed)
        score = _score(results)
        if not math.isfinite(score.loss):
            raise Diverged(f"step {self.steps + 1}: the loss is {score.loss}{self._where(feed)}; try a smaller learning rate")
        after = {name: results[f"{name}{NEXT}"] for name in self.values}
        if wrong := next((name for name, value in after.items() if not np.isfinite(value).all()), None):
            raise Diverged(f"step {self.steps + 1}: '{wrong}' is no number after it; try a smaller learning rate")
        self.values, self.steps, self.torn = after, self.steps + 1, False
        self.history.steps.append(LearnedStep(self.steps, learning_rate, score))
        return score

    def start(self) -> dict[str, Array]:
        """Weights and state before the first step: copies, for those of a PyTorch module lie in its memory, and it may learn as well."""
        given = {name: self.graph.by_name[name].weights for name in self.made.weights}
        states = {name: np.zeros(type_.concrete(), DTYPES[type_.dtype]) for name, type_ in self.made.states.items()}
        return {name: np.array(value.array()) for name, value in given.items() if value is not None} | states

    def evaluate(self, images: Array, labels: Array, batch: int = 256) -> Score:
        """Loss and accuracy as in inference, means over all images, of which `batch` are run at once; `labels` as for `step`.

        Raises: InvalidInput as `step`; UsageError where a step in place has left no weights.
        """
        self._check_whole()
        if not len(images):
            raise InvalidInput("there is no image to evaluate on")
        learned = self._learned()
        weights = {node.name: learned[node.name] for node in self._evaluation_graph.inputs if node.name in learned}
        found: list[tuple[int, Score]] = []
        for start in range(0, len(images), batch):
            part = slice(start, start + batch)
            found.append((len(images[part]), _score(self._evaluation(self._data(images[part], labels[part]) | weights))))
        loss = sum(count * score.loss for count, score in found) / len(images)
        shares = [count * score.accuracy for count, score in found if score.accuracy is not None]
        score = Score(loss, sum(shares) / len(images) if shares else None)
        self.history.evaluations.append((self.steps, score))
        return score

    def network(self) -> Graph:
        """The network with the weights and statistics of now, as inference computes it.

        Raises: UsageError where a step in place has left none.
        """
        self._check_whole()
        return holding(self.graph, {name: np.array(value) for name, value in self._learned().items()})

    def weights(self, names: Checkpoint | None = None) -> dict[str, Array]:
        """Every parameter of the network by name, as files of weights have them; with the table of a network of the zoo by PyTorch's names,
        as `cc.models.ZOO["resnet18"].checkpoint`, for a module's load_state_dict. A network of `from_torch` has its module's names."""
        own = {node.name: node.weights.array().copy() for node in self.network().params if node.weights is not None}
        return own if names is None else in_pytorch(self.graph, own, names)

    def fingerprint(self) -> str:
        """Of all that decides what a step computes of its inputs: the step's graph, and the values of what stays as it is."""
        digest = hashlib.blake2b(print_graph(self.made.graph).encode(), digest_size=16)
        for node in self.made.graph.params:
            if node.weights is not None:
                digest.update(node.name.encode() + b"\0" + np.ascontiguousarray(node.weights.array()).tobytes())
        return digest.hexdigest()

    def check_norms(self, batch: int) -> None:
        """Raises: InvalidInput for a batch norm that has one number a channel, where a step takes so many images."""
        for node in self._norms if batch == 1 else ():
            if math.prod(_sizes(node)) == 1:
                raise InvalidInput(
                    f"{node.where} has one number for each channel, of which there is no variance; train with batches of 2 or more"
                )

    def restore(self, values: Mapping[str, Array], steps: int) -> None:
        """Go on from weights and state of before: `values` by name, after so many `steps`.

        Raises: InvalidInput for those of another network.
        """
        types = {name: TensorType.of(value) for name, value in self.values.items()}
        have = {name: TensorType.of(value) for name, value in values.items()}
        if why := _other_values(types, have):
            raise InvalidInput(why)
        self.values, self.steps, self.torn = self._own({name: np.array(values[name]) for name in self.values}), steps, False
        self.history = History(self.graph.name)

    @cached_property
    def _norms(self) -> list[Node]:
        """Those that take the statistics of their batch."""
        running = set(self.made.statistics)
        return [node for node in self.graph.nodes if node.kind is BATCH_NORM and node.inputs[3].name in running]

    @cached_property
    def _step(self) -> Run:
        return self._started(self._run_graph)

    @cached_property
    def _step_of_batch(self) -> Run:
        """Of batches of the size that nearly all have: of numbers more is known than of a name."""
        return self._started(specialize(self._run_graph, dict.fromkeys(batch_names(self._run_graph), self.batch or 1)))

    @property
    def _run_graph(self) -> Graph:
        return self.made.graph if self.recomputed is None else self.recomputed.graph

    @cached_property
    def _evaluation_graph(self) -> Graph:
        return evaluation_step(self.graph, self.loss)

    @cached_property
    def _evaluation(self) -> Run:
        return self._started(self._evaluation_graph)

    def _started(self, graph: Graph) -> Run:
        (engine,) = engines_named(self.engine)
        if self.donated and self.donated.keys() <= graph.by_name.keys() and engine.start_over is not None:
            return engine.start_over(graph, self.threads, self.donated)
        return engine.start(graph, self.threads)

    def _own(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays that a step in place may write over, and takes without a copy."""
        return {name: aligned(value) for name, value in values.items()} if self.donated else dict(values)

    def _learned(self) -> dict[str, Array]:
        """What the network computes with: averages, where they are kept and there is a step that they are of."""
        averages = {name: self.values[average] for name, average in self.made.averages.items() if self.steps}
        return self.frozen | self.values | averages

    def _data(self, images: Array, labels: Array) -> dict[str, Array]:
        label = self.made.graph.by_name["label"].typed
        given = _numbers(labels, label)
        (image, *others) = (node for node in self.graph.inputs)
        if others:
            raise InvalidInput(f"@{self.graph.name} has {len(others) + 1} inputs; a trainer gives it one")
        if self.loss == "cross_entropy":
            self._check_labels(given)
        return {image.name: np.asarray(images, DTYPES[image.typed.dtype]), "label": given}

    def _check_labels(self, labels: Array) -> None:
        classes = self.graph.outputs[0].typed.shape[1]
        outside = labels[(labels < 0) | (labels >= classes)]
        if outside.size:
            raise InvalidInput(f"label {outside[0]} is outside the {classes} classes of @{self.graph.name}, which are 0 to {classes - 1}")

    def _check_whole(self) -> None:
        if self.torn:
            raise UsageError("a step in place has failed and left no weights; go on with `restore`")

    def _seed(self) -> int:
        """For the step, of 31 bits."""
        return int.from_bytes(hashlib.blake2b(f"{self.seed}:{self.steps}".encode(), digest_size=4).digest(), "little") >> 1

    def _where(self, feed: Mapping[str, Array]) -> str:
        """The first value on the way to the loss that is not finite; in place, where its weights are gone, how to find it."""
        if self.torn:
            image = self.graph.inputs[0]
            if not np.isfinite(feed[image.name]).all():
                return f", which began at {image.where}"
            return (
                ", of weights that are written over: `restore` those of before and set `careful` for the step to say at which node it began"
            )
        graph, feed = self.made.graph, {**feed, **self.values}
        forward = Graph.of(graph.name, graph.inputs, [graph.by_name["loss"]], graph.nodes)
        for node, value in stream(forward, {node.name: feed[node.name] for node in forward.inputs}):
            if node.typed.is_float and not np.isfinite(value).all():
                return f", which began at {node.where}"
        return ""


def _other_values(here: Mapping[str, TensorType], there: Mapping[str, TensorType]) -> str:
    """Why a step cannot take these values; "" where it can."""
    apart = here.keys() ^ there.keys()
    if apart and all(is_average(name) for name in apart):
        was, now = ("an ", "none is") if AVERAGED_STEPS in there else ("no ", "one is")
        return f"{was}average of the weights was kept there, and {now} here; give the average that it had, or begin anew"
    wrong = next((name for name in (*here, *there) if here.get(name) != there.get(name)), None)
    if wrong is None:
        return ""
    what = f"'{wrong}' is {there.get(wrong, 'missing')} there and {here.get(wrong, 'unknown')} here"
    return f"its values are of another network, or of another optimizer: {what}"


def _donated(step: Graph, engine: str) -> dict[str, str]:
    """Raises: UsageError as `Trainer`."""
    (found,) = engines_named(engine)
    if found.start_over is None:
        raise UsageError(f"{engine} writes over nothing that it is given; compute in place with the engine tvm")
    return following(step)


def _numbers(labels: Array, label: TensorType) -> Array:
    """Labels in the type that the loss reads. Raises: InvalidInput for what that type cannot say, such as class 1.7, or a word."""
    given = np.asarray(labels)
    if given.dtype.kind not in "biuf":
        raise InvalidInput(f"labels are {given.dtype}, expected numbers, {label}")
    if not label.is_float and given.dtype.kind == "f" and not (np.isfinite(given) & (given == np.trunc(given))).all():
        raise InvalidInput(f"labels are no whole numbers, expected classes from 0, {label}")
    return given.astype(DTYPES[label.dtype])


def _sizes(node: Node) -> list[int]:
    """Of the axes of space; a named one counts as 2, for it may be anything."""
    return [size if isinstance(size, int) else 2 for size in node.typed.shape[2:]]


def _score(results: Mapping[str, Array]) -> Score:
    return Score(float(results["loss"]), float(results["accuracy"]) if "accuracy" in results else None)
