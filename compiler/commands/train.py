"""convc train"""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from ...ir.errors import Ended, InvalidInput, UsageError
from ...ir.graph import Graph
from ...ir.weights import FANS
from ..engines.table import ENGINES
from ..files.model import Request
from ..files.weights import WEIGHT_FILES
from ..training.augment import AUGMENTATIONS, need_augmentations
from ..training.checkpoint import Epoch
from ..training.losses import LOSSES
from ..training.optimizers import Optimizer, adam, sgd
from ..training.pictures import NAMED, read_pictures
from ..training.run import ENDLESS, Plan, RunFiles, TrainingRun, files_of
from ..training.schedules import SCHEDULES
from ..training.trainer import Diverged, Score, Trainer
from .console import Console, emit_json
from .options import IN_PLACE, MEMORY, NAMES, SHARE, THREADS, Number, check_suffix, gather, model_options, names_for
from .outputs import OUTPUT_FILE

__all__ = ["command"]


SMOOTHING = "Share of a label that all classes have alike."
RATE = "How far a step goes along the gradient, before the schedule."
SCHEDULE = f"Of the learning rate. Only with {' or '.join(ENDLESS)} may a run that is resumed have more --epochs."
RESUME = (
    "Go on from the checkpoint beside the output, to the same bits; with another schedule, or other --epochs under one that ends, "
    "begin anew from what was learned: --weights FILE instead."
)
AVERAGE = "Validate and write averages of the weights over the steps, which forget by this: 0.99 for about the last hundred steps."
FREE = ("threads", "backend", "memory", "in_place", "names")  # options that decide no bits, or that the run itself keeps


def _names(context: click.Context, option: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(name for name in value.split(",") if name)


@click.command("train")
@model_options
@click.option(
    "--data", required=True, help=f"A folder with a folder of pictures for each class, an .npz with x and y, or {', '.join(NAMED)}."
)
@click.option("-o", "--output", type=OUTPUT_FILE, required=True, help="Where the best weights go: .safetensors or .npz.")
@click.option("--loss", type=click.Choice(list(LOSSES)), default="cross_entropy", show_default=True)
@click.option("--optimizer", type=click.Choice(["sgd", "adam"]), default="sgd", show_default=True)
@click.option("--momentum", type=Number(0, 1, max_open=True), default=0.9, show_default=True, help="Of sgd.")
@click.option("--nesterov", is_flag=True, help="sgd that looks ahead.")
@click.option("--weight-decay", type=Number(0), default=5e-4, show_default=True, help="How much of a weight its gradient has besides.")
@click.option("--label-smoothing", type=Number(0, 1, max_open=True), default=0.0, show_default=True, help=SMOOTHING)
@click.option("--average", type=Number(0, 1, min_open=True, max_open=True), metavar="DECAY", help=AVERAGE)
@click.option("--clip-norm", type=Number(0, min_open=True), help="The greatest length of all gradients together; default: any.")
@click.option("--freeze", multiple=True, metavar="NAME", help="Parameters that stay as they are, such as 'conv1.*'.")
@click.option("--init", type=click.Choice(list(FANS)), help="How weights are drawn; default: as the network says.")
@click.option("--epochs", type=click.IntRange(1), default=10, show_default=True, help="How often all pictures are learned from.")
@click.option("--batch", type=click.IntRange(1), default=16, show_default=True, help="Pictures a step.")
@click.option("--learning-rate", "--lr", "learning_rate", type=Number(0, min_open=True), default=0.03, show_default=True, help=RATE)
@click.option("--schedule", type=click.Choice(list(SCHEDULES)), default="cosine", show_default=True, help=SCHEDULE)
@click.option("--validation", type=Number(0, 1, True, True), default=0.2, show_default=True, help="Share that is held out.")
@click.option("--augment", "augmentations", metavar="A,B", default="", callback=_names, help=f"Among {', '.join(AUGMENTATIONS)}.")
@click.option("--workers", type=click.IntRange(0), default=1, show_default=True, help="Processes that augment beside the step.")
@click.option("-b", "--backend", type=click.Choice(list(ENGINES)), default="tvm", show_default=True)
@click.option("--threads", type=THREADS, help="Threads; default: one a physical core.")
@NAMES
@click.option("--memory", type=SHARE, help=MEMORY)
@click.option("--in-place", is_flag=True, help=IN_PLACE)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of all that is drawn.")
@click.option("--resume", is_flag=True, help=RESUME)
@click.option("--json", "as_json", is_flag=True, help="The epochs as JSON.")
@gather("plan", Plan)
@click.pass_obj
def command(console: Console, request: Request, plan: Plan, data: str, output: Path, resume: bool, as_json: bool, **how: Any) -> None:
    """Train MODEL on pictures, and write the weights that did best on those held out.

    Beside the weights stand a curve (.svg), a line of JSON for each epoch (.jsonl) and a checkpoint to --resume from.
    """
    check_suffix("-o", output, WEIGHT_FILES)
    if how["loss"] != "cross_entropy":
        raise UsageError(
            f"--loss {how['loss']} needs numbers for labels, and --data gives classes; leave it out, or use cc.Trainer from Python"
        )
    names = names_for(console, request.model, how["names"])
    graph = console.load(request)
    _check_batch(graph)
    trainer = _trainer(graph, plan, how)
    image, classes = graph.inputs[0].typed, _classes(graph)
    pictures = read_pictures(data, image, classes, console.say)
    plan = plan if plan.augmentations else replace(plan, workers=0)
    run, files = TrainingRun(trainer, pictures, plan, {"data": data, **_identity(how)}, names), files_of(output)
    _check_apart(data, files)
    if resume:
        run.resume(files.checkpoint)
        console.say(f"go on after step {trainer.steps}, {len(run.epochs)} of {plan.epochs} epochs done")
    elif files.checkpoint.exists():
        console.say(f"note: '{files.checkpoint}' of an earlier run is written anew once an epoch is over; --resume would go on with it")
    console.say(
        f"{len(run.training)} pictures to learn from, {len(run.held)} held out, {run.per_epoch} steps an epoch, on {trainer.engine}"
    )
    if trainer.recomputed is not None:
        console.say(trainer.recomputed.line)
    _go(console, run, files)
    best = _best(run)
    if as_json:
        emit_json({"epochs": [asdict(each) for each in run.epochs], "best": best.epoch, "weights": str(output)})
    console.say(f"wrote {output}: the weights of epoch {best.epoch}; {files.curve.name} is the curve, {files.lines.name} its numbers")


def _check_apart(data: str, files: RunFiles) -> None:
    """Raises: UsageError where a file of the run would take the place of what is learned from."""
    source = Path(data)
    if same := next((path for path in files.all if path.exists() and source.exists() and path.samefile(source)), None):
        raise UsageError(f"'{same}' would be written over the pictures it learns from; give -o another name")


def _identity(how: dict[str, Any]) -> dict[str, Any]:
    """What of the options decides the bits, as JSON has it."""
    return {name: list(how[name]) if name == "freeze" else value for name, value in how.items() if name not in FREE}


def _go(console: Console, run: TrainingRun, files: RunFiles) -> None:
    def said(epoch: Epoch) -> None:
        right = "" if epoch.accuracy is None else f", {epoch.accuracy:.4f} right"
        held = "" if epoch.validation_accuracy is None else f", {epoch.validation_accuracy:.4f} right"
        rest = f"{epoch.learning_rate:.3g} at the end, {epoch.seconds:.1f} s"
        console.say(f"epoch {epoch.epoch}: loss {epoch.loss:.4f}{right}; held out {epoch.validation_loss:.4f}{held}; rate {rest}")

    try:
        with ending_at_a_step() as stop_if_asked:

            def stepped(step: int, score: Score) -> None:
                console.say(f"step {step}: loss {score.loss:.4f}", 1)
                stop_if_asked()

            run.go(files, said, stepped)
    except Diverged:
        console.say(_good(run, files))
        raise
    except (KeyboardInterrupt, Ended):
        console.say(f"stopped after step {run.state.steps}; {_kept(run, files)}")
        raise


def _good(run: TrainingRun, files: RunFiles) -> str:
    """Where the last good weights are, once a loss is no number."""
    written = f"'{files.weights}' has those of epoch {_best(run).epoch}" if run.epochs else "no epoch was over, so none were written"
    before = f", '{files.checkpoint.name}' those before this step" if run.kept else ""
    return f"the last good weights: {written}{before}"


def _best(run: TrainingRun) -> Epoch:
    return max(run.epochs, key=lambda each: each.worth)


def _kept(run: TrainingRun, files: RunFiles) -> str:
    """What an interruption leaves, for people."""
    if run.kept:
        return f"'{files.checkpoint}' has all of it: go on with --resume"
    if not run.trainer.torn:
        return f"'{files.checkpoint}' of the earlier run stays, for no epoch was over"
    if run.epochs:
        return f"'{files.checkpoint}' has it until epoch {len(run.epochs)}, for a step in place was broken off: go on with --resume"
    return "nothing is kept, for a step in place was broken off before an epoch was over"


@contextmanager
def ending_at_a_step() -> Generator[Callable[[], None]]:
    """Ctrl-C and SIGTERM wait until the function is called that it gives; the second does not wait. Raised anywhere, a library may swallow
    them.
    """
    asked = 0

    def note(number: int, frame: object) -> None:
        nonlocal asked
        again, asked = bool(asked), number
        if again:
            stop_if_asked()

    def stop_if_asked() -> None:
        if asked:
            raise KeyboardInterrupt if asked == signal.SIGINT else Ended(128 + asked)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop_if_asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _trainer(graph: Graph, plan: Plan, how: dict[str, Any]) -> Trainer:
    need_augmentations(plan.augmentations)
    optimizer: Optimizer
    if how["optimizer"] == "adam":
        if how["nesterov"]:
            raise UsageError("--nesterov is sgd's; leave it out")
        optimizer = adam(weight_decay=how["weight_decay"])
    else:
        optimizer = sgd(how["momentum"], how["weight_decay"], how["nesterov"])
    return Trainer(
        graph,
        how["loss"],
        optimizer,
        how["freeze"],
        how["clip_norm"],
        how["label_smoothing"],
        how["backend"],
        how["threads"],
        how["init"],
        plan.seed,
        plan.batch,
        how["memory"],
        in_place=how["in_place"],
        average=how["average"],
    )


def _check_batch(graph: Graph) -> None:
    """Raises: InvalidInput for a network of so many images and no others: batches, and what is held out, are of several sizes."""
    image = graph.inputs[0]
    if image.typed.rank and isinstance(number := image.typed.shape[0], int):
        free = ",".join(map(str, ("N", *image.typed.shape[1:])))
        raise InvalidInput(f"@{graph.name} takes {number} images at a time and no other number; train it with --input {image.name}:{free}")


def _classes(graph: Graph) -> int:
    """Raises: InvalidInput for a network that gives no score for each class."""
    out = graph.outputs[0].typed
    if out.rank != 2 or not isinstance(out.shape[1], int):
        raise InvalidInput(f"@{graph.name} returns {out}, and pictures of classes need [N,classes]; cc.Trainer trains others")
    return out.shape[1]
