"""Steps of training against PyTorch's: `python tests/bench/training.py [CASE ...]`, with torch and torchvision.

A step is what a user calls: a batch in, new weights kept, by SGD with momentum and weight decay. Each engine has a process of its own, and
they take turns: convc, and PyTorch eager and compiled, each with images as they are and channels last. PyTorch's optimizer is its
fused one. The fastest of PyTorch's medians counts. On one thread times are of the processor, which neighbours of the machine leave
alone; on several they are the clock's. With `--file` it is the plain ONNX file of the step in onnxruntime that is held to PyTorch eager. `wgrad` is a layer of its own: the gradient of a 3x3 convolution by its weights.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

RATE = 1e-4  # of learning: times are of a network whose numbers stay usual ones
FILE = "file"
ENGINES = ("convc", "eager nchw", "eager channels_last", "compiled nchw", "compiled channels_last")


@dataclass(frozen=True, slots=True)
class Case:
    """A network of the zoo at a batch, or a layer [channels, side]; `bar` is PyTorch's time over convc's, `file_bar` over the file's."""

    network: str
    batch: int
    bar: float
    layer: tuple[int, int] | None = None
    file_bar: float | None = None


CASES = {
    "resnet18": Case("resnet18", 16, 1.7),
    "resnet20": Case("resnet20", 128, 1.5, file_bar=0.55),
    "vgg11": Case("vgg11", 8, 2.0),
    "lenet5": Case("lenet5", 128, 1.8, file_bar=0.9),
    "mobilenet_v2": Case("mobilenet_v2", 16, 1.0),
    "wgrad64@56": Case("wgrad", 16, 2.5, (64, 56)),
    "wgrad128@28": Case("wgrad", 16, 2.5, (128, 28)),
    "wgrad256@14": Case("wgrad", 16, 2.5, (256, 14)),
    "wgrad512@7": Case("wgrad", 16, 2.5, (512, 7)),
}


def step_of_convc(case: Case, threads: int) -> Callable[[], object]:
    import convc as cc

    net = getattr(cc.models, case.network)()
    trainer = cc.Trainer(net, optimizer=cc.sgd(momentum=0.9, weight_decay=5e-4), threads=threads, batch=case.batch)
    images, labels = data(case, tuple(net.inputs[0].typed.shape[1:]))
    return lambda: trainer.step(images, labels, RATE)


def step_of_file(case: Case, threads: int) -> Callable[[], object]:
    """What `convc export --training` writes, as its readers run it: each step is fed with what the one before gave."""
    import onnxruntime as ort

    import convc as cc

    net = getattr(cc.models, case.network)()
    trainer = cc.Trainer(net, optimizer=cc.sgd(momentum=0.9, weight_decay=5e-4), engine="reference")
    with tempfile.TemporaryDirectory() as folder:
        cc.export_onnx(cc.training_step(net, optimizer=cc.sgd(momentum=0.9, weight_decay=5e-4)), f"{folder}/step.onnx", opset=17)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        session = ort.InferenceSession(f"{folder}/step.onnx", options, providers=["CPUExecutionProvider"])
    images, labels = data(case, tuple(net.inputs[0].typed.shape[1:]))
    kept = {net.inputs[0].name: images, "label": labels, "learning_rate": np.array(RATE, np.float32)}
    names = [output.name for output in session.get_outputs()]
    carried = dict(trainer.values)

    def step() -> float:
        results = dict(zip(names, session.run(names, kept | carried), strict=True))
        carried.update({name: results[f"{name}.next"] for name in carried})
        return float(results["loss"])

    return step


def data(case: Case, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((case.batch, *shape)).astype(np.float32), rng.integers(0, 10, case.batch)


def layer_of_convc(case: Case, threads: int) -> Callable[[], object]:
    """The kernel alone on images in blocks, as it finds them in a step; PyTorch has its own layouts, too."""
    from convc.backends.tvm.cpu.kernels.winograd.weight_gradient import TiledWeightGradient, tiled_weight_gradient
    from convc.backends.tvm.host import host_processor, tvm
    from convc.tests.support.cpu_kernels import blocked_shape, compiled, draw

    assert case.layer is not None
    channels, side = case.layer
    host = tvm(threads)
    size = TiledWeightGradient(4, case.batch, channels, channels, side, side, (1, 1, 1, 1), host_processor())  # as plans have it
    main, shape = compiled(tiled_weight_gradient(size))["main"], blocked_shape(case.batch, channels, side, side)
    host.get_global_func("runtime.config_threadpool")(1, threads)
    x, g, d = (host.runtime.tensor(draw(*shape)) for shape in (shape, shape, (channels, channels, 3, 3)))
    return lambda: main(x, g, d)


def step_of_torch(case: Case, engine: str, threads: int) -> Callable[[], object]:
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    how, layout = engine.split()
    form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    net = torch_network(case.network).to(memory_format=form).train()
    shape = {"lenet5": (1, 32, 32), "resnet20": (3, 32, 32)}.get(case.network, (3, 224, 224))
    images, labels = (torch.from_numpy(value) for value in data(case, shape))
    images = images.contiguous(memory_format=form)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4, fused=True)

    def loss_of(images: Any, labels: Any) -> Any:
        return torch.nn.functional.cross_entropy(net(images), labels)

    loss_of = torch.compile(loss_of) if how == "compiled" else loss_of

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(images, labels)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def layer_of_torch(case: Case, engine: str, threads: int) -> Callable[[], object]:
    import torch

    assert case.layer is not None
    torch.set_num_threads(threads)
    channels, side = case.layer
    form = torch.channels_last if engine.endswith("channels_last") else torch.contiguous_format
    x, g = (torch.randn(case.batch, channels, side, side).contiguous(memory_format=form) for _ in range(2))
    w = torch.zeros(channels, channels, 3, 3).contiguous(memory_format=form)
    wanted = [False, True, False]
    return lambda: torch.ops.aten.convolution_backward(g, x, w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, wanted)


def torch_network(name: str) -> Any:
    import torch
    from torch import nn

    if name == "lenet5":
        return nn.Sequential(
            *(nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten()),
            *(nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10)),
        )
    if name != "resnet20":
        import torchvision

        return torchvision.models.get_model(name, weights=None)

    class Block(nn.Module):
        """Two of 3x3, and a shortcut without parameters: option A."""

        def __init__(self, width_in: int, width: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
            self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
            self.stride, self.more = stride, width - width_in

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            if self.more:
                x = nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
            return torch.relu(y + x)

    layers: list[Any] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    width_in = 16
    for width in (16, 32, 64):
        for index in range(3):
            layers.append(Block(width_in, width, 2 if index == 0 and width > 16 else 1))
            width_in = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def work(case: Case, engine: str, threads: int) -> Callable[[], object]:
    if engine == FILE:
        return step_of_file(case, threads)
    is_ours, is_layer = engine == "convc", case.layer is not None
    if is_ours:
        return layer_of_convc(case, threads) if is_layer else step_of_convc(case, threads)
    return layer_of_torch(case, engine, threads) if is_layer else step_of_torch(case, engine, threads)


def serve(case: Case, engine: str, threads: int) -> None:
    """The process of an engine: for each line a number of runs, milliseconds of each as JSON."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    run, clock = work(case, engine, threads), time.process_time if threads == 1 else time.perf_counter
    run()
    print("[]", file=answers, flush=True)
    for line in sys.stdin:
        taken: list[float] = []
        run()
        for _ in range(int(line)):
            begin = clock()
            run()
            taken.append((clock() - begin) * 1e3)
        time.sleep(0.02 * threads)  # threads that spin come to rest
        print(json.dumps(taken), file=answers, flush=True)


class Server:
    def __init__(self, name: str, engine: str, threads: int) -> None:
        usual = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", name, engine, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | usual,
        )
        self.taken: list[float] = []

    def answer(self) -> list[float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(map(str, self.process.args))} ended")  # type: ignore[arg-type]
        return json.loads(line)

    def turn(self, runs: int) -> None:
        assert self.process.stdin is not None
        print(runs, file=self.process.stdin, flush=True)
        self.taken += self.answer()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


def measured(name: str, engines: list[str], threads: int, turns: int) -> dict[str, float]:
    """Median milliseconds by engine."""
    servers: dict[str, Server] = {}
    try:
        for engine in engines:
            servers[engine] = Server(name, engine, threads)
            servers[engine].answer()
        for turn in range(turns + 1):
            for server in servers.values():
                if turn == 1:
                    server.taken.clear()  # what was learned in the first turn was how many runs a turn has
                server.turn(max(1, min(20, int(300 / statistics.median(server.taken)))) if server.taken else 1)
        return {engine: statistics.median(server.taken) for engine, server in servers.items()}
    finally:
        for server in servers.values():
            server.end()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], default=list(CASES), help="all, if none is given")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--engines", nargs="+", default=ENGINES, help="convc, and of PyTorch's forms these")
    parser.add_argument("--file", action="store_true", help="the step's plain ONNX file in onnxruntime against PyTorch eager")
    given = parser.parse_args()
    ours = FILE if given.file else "convc"
    if given.file:
        given.engines = [FILE, *(engine for engine in ENGINES if engine.startswith("eager"))]
        given.cases = [name for name in given.cases if CASES[name].file_bar is not None]
    missed = 0
    for threads in given.threads:
        for name in given.cases:
            case = CASES[name]
            engines = [engine for engine in given.engines if case.layer is None or not engine.startswith("compiled")]
            times = measured(name, engines, threads, given.turns)
            shown = ", ".join(f"{engine} {ms:.4g}" for engine, ms in times.items())
            theirs = [ms for engine, ms in times.items() if engine != ours]
            verdict, bar = "", (case.file_bar if given.file else case.bar) or 0.0
            if theirs and ours in times:
                ratio = min(theirs) / times[ours]
                missed += ratio < bar
                verdict = f"{'met   ' if ratio >= bar else 'MISSED'} {ratio:5.2f} (bar {bar})"
            unit = "ms of processor" if threads == 1 else "ms"
            print(f"{verdict} {name:14} batch {case.batch:3}, {threads} threads, {unit}: {shown}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(CASES[sys.argv[2]], sys.argv[3], int(sys.argv[4]))
        sys.exit(0)
    sys.exit(main())
