"""Writes docs/learning.md and its pictures: what the course says of learning, as curves of networks that learned the digits that come with convc.

    nice -n 10 python tests/bench/curves.py

Some two minutes of one processor. The networks are small and the digits few, so that two cores do; each picture says how it was made. The
same steps give the same bits, so a run on another day differs where onnxruntime, which computes them, adds in another order.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

import convc as cc
from convc.compiler.training.checkpoint import Epoch
from convc.compiler.training.optimizers import Optimizer
from convc.compiler.training.pictures import read_pictures
from convc.compiler.training.run import Plan, TrainingRun, files_of
from convc.compiler.training.trainer import Trainer
from convc.ir.graph import Graph

DOCS = Path(__file__).parents[2] / "docs"
COLOURS = ("steelblue", "firebrick", "seagreen", "darkorange")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 340, 56, 16, 64, 40
SEED = 1


# --- networks ---


def _stack(image: cc.Value, layers: int, *, shortcuts: bool, normed: bool = True) -> cc.Value:
    """The form of He et al. 2015, sec. 4.2, with half the filters, for digits of 8x8."""

    def layer(x: cc.Value, width: int, stride: int) -> cc.Value:
        return cc.conv_bn(x, width, 3, stride, pad=1) if normed else cc.conv(x, width, 3, stride, pad=1)

    x = cc.relu(layer(image, 8, 1))
    for stage, width in enumerate((8, 16, 32)):
        for index in range((layers - 2) // 6):
            stride = 2 if stage and not index else 1
            y = layer(cc.relu(layer(x, width, stride)), width, 1)
            if shortcuts:
                y = y + (x if x.shape == y.shape else cc.conv_bn(x, width, 1, stride))
            x = cc.relu(y)
    return cc.softmax(cc.dense(cc.global_avg_pool(x), 10))


def stack(layers: int, *, shortcuts: bool = False, normed: bool = True) -> Graph:
    return cc.network(image="N,1,8,8")(lambda image: _stack(image, layers, shortcuts=shortcuts, normed=normed))()


def perceptron(ratio: float) -> Graph:
    """Two hidden layers, wide for 8x8 pixels; dropout behind each. Srivastava et al. 2014, sec. 6.1.1."""

    def built(image: cc.Value) -> cc.Value:
        x = image
        for _ in range(2):
            x = cc.relu(cc.dense(x, 512))
            x = cc.dropout(x, ratio) if ratio else x
        return cc.softmax(cc.dense(x, 10))

    return cc.network(image="N,1,8,8")(built)()


# --- what is shown ---


@dataclasses.dataclass(frozen=True)
class Run:
    label: str
    net: Callable[[], Graph]
    plan: Plan
    optimizer: Optimizer = dataclasses.field(default_factory=cc.sgd)


@dataclasses.dataclass(frozen=True)
class Picture:
    """`reading` is what of an epoch is drawn, `about` the words on the page; {LABEL} of a run there is its last reading."""

    name: str
    title: str
    axis: str
    reading: Callable[[Epoch], float | None]
    runs: tuple[Run, ...]
    about: str


DEEP = Plan(epochs=8, batch=32, learning_rate=0.05, seed=SEED)
FEW = Plan(epochs=30, batch=32, learning_rate=0.02, validation=0.8, schedule="constant", seed=SEED)
SLOW = Plan(epochs=8, batch=32, learning_rate=0.01, schedule="constant", augmentations=("shift",), seed=SEED)
PICTURES = (
    Picture(
        "lenet5",
        "LeNet-5 learns digits",
        "wrong, of those held out",
        lambda epoch: 1 - (epoch.validation_accuracy or 0.0),
        (Run("LeNet-5", cc.models.lenet5, Plan(augmentations=("shift",), seed=SEED)),),
        "`convc train lenet5 --data digits --augment shift`: 1,438 digits learned, 359 held out, of which a share of {LeNet-5} is wrong in the end. "
        "LeCun et al. (1998) show it for 60,000 digits of MNIST.",
    ),
    Picture(
        "deep",
        "Plain and residual networks of 20 and 56 layers",
        "loss while learning",
        lambda epoch: epoch.loss,
        (
            Run("plain, 20 layers", lambda: stack(20), DEEP),
            Run("plain, 56 layers", lambda: stack(56), DEEP),
            Run("residual, 20 layers", lambda: stack(20, shortcuts=True), DEEP),
            Run("residual, 56 layers", lambda: stack(56, shortcuts=True), DEEP),
        ),
        "He et al. (2015), fig. 6: plain, the deeper network learns its own training pictures worse ({plain, 56 layers} against "
        "{plain, 20 layers} in the last epoch), which is no overfitting. With shortcuts it learns them too ({residual, 56 layers} against "
        "{residual, 20 layers}), though of so few and small digits the shorter one is still ahead. Their networks learn CIFAR-10; here the same stacks have half the filters and learn 8x8 digits.",
    ),
    Picture(
        "batch_norm",
        "20 layers with and without batch norm",
        "loss while learning",
        lambda epoch: epoch.loss,
        (Run("with batch norm", lambda: stack(20), DEEP), Run("without", lambda: stack(20, normed=False), DEEP)),
        "Ioffe & Szegedy (2015): the same plain network at the same rate. In the last epoch the loss is {with batch norm} with it and "
        "{without} without.",
    ),
    Picture(
        "dropout",
        "A wide perceptron on 359 digits, with and without dropout",
        "loss of those held out",
        lambda epoch: epoch.validation_loss,
        (Run("dropout 0.5", lambda: perceptron(0.5), FEW), Run("without", lambda: perceptron(0.0), FEW)),
        "Srivastava et al. (2014): two hidden layers of 512, learned from a fifth of the digits. On the other four fifths the loss ends at "
        "{dropout 0.5} with dropout and {without} without.",
    ),
    Picture(
        "momentum",
        "LeNet-5 with and without momentum",
        "loss while learning",
        lambda epoch: epoch.loss,
        (
            Run("momentum 0.9", cc.models.lenet5, SLOW, cc.sgd(0.9)),
            Run("without", cc.models.lenet5, SLOW, cc.sgd(0.0)),
        ),
        "Sutskever et al. (2013): the same small rate, 0.01. After the last epoch the loss is {momentum 0.9} with momentum, {without} without.",
    ),
)


def learned(run: Run, folder: Path) -> tuple[Epoch, ...]:
    graph = run.net()
    trainer = Trainer(graph, optimizer=run.optimizer, engine="onnx", threads=1, seed=run.plan.seed)
    made = TrainingRun(trainer, read_pictures("digits", graph.inputs[0].typed, 10), run.plan)
    made.go(files_of(folder / "w.safetensors"), lambda epoch: None)
    return made.epochs


# --- the page ---


def lines_svg(title: str, axis: str, series: Mapping[str, Sequence[float]]) -> str:
    """A line for each series, by epoch."""
    values = [value for line in series.values() for value in line]
    high, count = max(values) or 1.0, max(len(line) for line in series.values())
    width, height, bottom = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM, HEIGHT - BOTTOM
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{WIDTH / 2}" y="20" text-anchor="middle" font-size="14">{escape(title)}</text>',
        f'<path d="M{LEFT},{TOP}V{bottom}h{width}" fill="none" stroke="black"/>',
        f'<text x="{LEFT + width / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(axis)}, by epoch, 1 to {count}</text>',
    ]
    names = "".join(f'<tspan fill="{colour}" dx="12">{escape(name)}</tspan>' for name, colour in zip(series, COLOURS, strict=False))
    lines.append(f'<text x="{WIDTH / 2}" y="42" text-anchor="middle">{names}</text>')
    lines += [f'<text x="{LEFT - 6}" y="{bottom - height * i / 4 + 4:.1f}" text-anchor="end">{high * i / 4:.3g}</text>' for i in range(5)]
    for line, colour in zip(series.values(), COLOURS, strict=False):
        points = " ".join(
            f"{LEFT + width * place / max(count - 1, 1):.1f},{bottom - height * value / high:.1f}" for place, value in enumerate(line)
        )
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    folder, begun = DOCS / "learning", time.process_time()
    folder.mkdir(exist_ok=True)
    blocks = [
        "# Learning",
        "Written by `tests/bench/curves.py`, with its pictures: what the course says of learning, on the 1,797 digits of 8x8 pixels that come "
        "with convc. Everything is one run of one seed, so a picture shows an effect and measures none.",
    ]
    for picture in PICTURES:
        series: dict[str, list[float]] = {}
        for run in picture.runs:
            with tempfile.TemporaryDirectory() as scratch:
                epochs = learned(run, Path(scratch))
            series[run.label] = [value for epoch in epochs if (value := picture.reading(epoch)) is not None]
            print(f"{picture.name}, {run.label}: {series[run.label][-1]:.4f}, {time.process_time() - begun:.0f} s so far", flush=True)
        (folder / f"{picture.name}.svg").write_text(lines_svg(picture.title, picture.axis, series), encoding="utf-8")
        words = picture.about
        for label, line in series.items():
            words = words.replace(f"{{{label}}}", f"{line[-1]:.3g}")
        blocks += [f"## {picture.title}", f"![{picture.title}](learning/{picture.name}.svg)", words]
    (DOCS / "learning.md").write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    print(f"wrote {DOCS / 'learning.md'}, {time.process_time() - begun:.0f} s of processor")


if __name__ == "__main__":
    main()
