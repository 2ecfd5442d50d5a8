"""What a call costs beside the network, by way of calling it: `python tests/bench/torch_calls.py [NETWORK ...]`, with torch and torchvision.

`Module` is what convc compiles, called from Python. Dynamo looks at all that a graph was made for before it runs it, and then fetches each
parameter: `nothing` is a backend of PyTorch's that does just what `Module` does, and looks at no weight. `convc` looks at them as well,
since they are constants of what it compiled. `unguarded` are both where PyTorch is told not to look at modules. All run one library. Each
call comes after a run of the network, which leaves little of all that in the caches: alone, in a row, these looks take a third of the time
or less. Microseconds of processor time on one thread, least and median, in turns; what they are above Module's.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

import torch
import torchvision

from convc.compiler.compiling import torch_backend
from convc.compiler.compiling.module import started
from convc.compiler.files.torch_module import array_of, from_torch

NETWORKS = ("resnet18", "mobilenet_v2")


def made(name: str) -> Any:
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None).eval()


def in_turns(ways: Mapping[str, Callable[[], Any]], turns: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 2):
        for name, call in ways.items():
            start = time.thread_time()
            for _ in range(3):
                call()
            if turn > 1:
                found[name].append((time.thread_time() - start) / 3e-6)
    return found


def ways_of(name: str, image: Any) -> dict[str, Callable[[], Any]]:
    graph = from_torch(made(name), image)
    better, run = started(graph, 2, 1, check=False)
    (given,), (result,) = [node.name for node in better.inputs], [node.name for node in better.outputs]

    def module() -> Any:
        return torch.from_numpy(run({given: array_of(image)})[result])

    def nothing(graph: Any, inputs: Any) -> Any:
        return lambda *args: (module(),)

    def called(backend: Any, **options: Any) -> Callable[[], Any]:
        """Compiled by its first call, for itself: what Dynamo looks at is no part of what it finds a graph by."""
        fast = torch.compile(made(name), backend=backend, options=options, isolate_recompiles=True)
        fast(image)
        return lambda: fast(image)

    unlooked = {"guard_filter_fn": torch.compiler.skip_guard_on_all_nn_modules_unsafe}
    with mock.patch.object(torch_backend, "started", return_value=(better, run)):
        ways = {
            "Module": module,
            "nothing": called(nothing),
            "nothing, unguarded": called(nothing, **unlooked),
            "convc": called(torch_backend.convc, threads=1),
            "convc, unguarded": called(torch_backend.convc, threads=1, **unlooked),
        }
        with torch._dynamo.config.patch(use_recursive_dict_tags_for_guards=True):
            return ways | {"convc, tags for dicts": called(torch_backend.convc, threads=1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--side", type=int, default=224, help="rows and columns of an image")
    given = parser.parse_args()
    warnings.simplefilter("default")
    torch.set_num_threads(1)
    for name in given.networks:
        with torch.no_grad():
            found = in_turns(ways_of(name, torch.rand(1, 3, given.side, given.side)), given.turns)
        least, middle = min(found["Module"]), statistics.median(found["Module"])
        print(f"{name}, {len(list(made(name).state_dict()))} parameters and buffers")
        for way, times in found.items():
            more, share = min(times) - least, statistics.median(times) / middle - 1
            print(f"  {way:24} {min(times):9.1f} {statistics.median(times):9.1f}   {more:+8.1f}  {share:+.1%}", flush=True)


if __name__ == "__main__":
    main()
