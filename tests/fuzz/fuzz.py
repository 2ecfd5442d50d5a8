"""Random networks against everything that must hold for them: `make fuzz`.

    python tests/fuzz/fuzz.py --seconds 60 --seed 0               passes
    python tests/fuzz/fuzz.py --count 10000 --check passes        as many networks, however long it takes
    python tests/fuzz/fuzz.py --seconds 60 --check engines        reference, onnxruntime and TVM
    python tests/fuzz/fuzz.py --count 10000 --check tvm --mixing  TVM at -O3: tokens, norms, groups and shuffles in every network
    python tests/fuzz/fuzz.py build/fuzz/1a2b3c.cir               what is wrong with these, again

Network i of seed s is `random_network` of "s:i". Networks to which a rule, or two rules together, are
applied for the first time are kept in the corpus, the first 200; they run first the next time, and every fourth network grows
out of one of them. A failure is shrunk and written to build/fuzz as text.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before NumPy: many tiny products, one process a core

import argparse
import hashlib
import multiprocessing
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import convc
from convc.ir.errors import ConvcError
from convc.ir.graph import Graph
from convc.ir.parser import parse_graph
from convc.ir.printer import print_graph
from convc.passes.pipelines import LEVELS
from convc.tests.fuzz.checks import ENGINE_CHECKS, Subject, complaint, pass_checks
from convc.tests.fuzz.random_networks import random_network
from convc.tests.fuzz.shrink import shrink

ROOT = Path(convc.__file__).parent
SHRUNK = 3  # failures of one check that are shrunk; the others are counted
LARGEST_CORPUS = 200
LARGEST_START = 20  # nodes of a corpus network that others grow out of
TVM_EVERY = 8
GROW = 4  # every fourth network does


@dataclass
class Tally:
    """What one process saw."""

    networks: int = 0
    nodes: int = 0
    checks: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    written: list[str] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)  # rules and joints, and the network that showed them first
    skipped: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        self.networks += other.networks
        self.nodes += other.nodes
        self.checks += other.checks
        self.failures += other.failures
        self.written += other.written
        self.seen = other.seen | self.seen
        self.skipped += other.skipped


def checks_for(kind: str, seed: int) -> tuple[str, ...]:
    """TVM takes a third of a second to compile, so it sees every eighth network, at one level with our kernels and at one without."""
    draws, levels = random.Random(seed), range(len(LEVELS))
    compiled = (f"tvm -O{draws.choice(levels)}", f"stock -O{draws.choice(levels)}") if seed % TVM_EVERY == 0 else ()
    if kind == "tvm":
        return ("tvm -O3",)
    engines = ("reference -O0", "onnx -O0", f"onnx -O{draws.choice(levels[1:])}", *compiled)
    return {"passes": pass_checks(seed), "engines": engines, "all": (*pass_checks(seed), *engines)}[kind]


def features(subject: Subject) -> set[str]:
    """The rules that were applied, and which of them to one network."""
    rules = sorted(subject.rules)
    return {*rules, *(f"{a} & {b}" for i, a in enumerate(rules) for b in rules[i + 1 :])}


def examine(graph: Graph, names: tuple[str, ...], tally: Tally, out: Path) -> Subject:
    """All checks on one network; what fails is shrunk and written."""
    subject = Subject(graph)
    for name in names:
        tally.checks += 1
        if (wrong := complaint(name, subject)) is None:
            continue
        key = f"{name.split(',')[0]}: {_gist(wrong)}"
        tally.failures[key] += 1
        if tally.failures[key] <= SHRUNK:
            small = shrink(graph, lambda smaller, name=name, wrong=wrong: _gist(complaint(name, Subject(smaller)) or "") == _gist(wrong))
            tally.written.append(write(small, name, complaint(name, Subject(small)) or wrong, out))
    tally.networks += 1
    tally.nodes += len(graph.nodes)
    tally.skipped.update(subject.skipped)
    return subject


def _gist(wrong: str) -> str:
    """The kind of a complaint: its exception and first words, without names and numbers."""
    if "DIFFERS" in wrong:
        return "results differ"
    return " ".join([word for word in wrong.split() if not any(c.isdigit() or c in "%[{'\"@" for c in word)][:5])


def write(graph: Graph, name: str, wrong: str, out: Path) -> str:
    text = print_graph(graph)
    path = out / f"{hashlib.blake2b(f'{name}{text}'.encode(), digest_size=5).hexdigest()}.cir"
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(f"# {name}: {wrong}\n# again: python tests/fuzz/fuzz.py {_short(path)} --only '{name}'\n{text}")
    return str(path)


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def work(worker: int, workers: int, seed: int, kind: str, count: int, end: float, out: Path, corpus: Path, mixing: bool = False) -> Tally:
    """Networks `worker`, `worker` + `workers`, ... until the count or the time is reached."""
    tally = Tally()
    starts: list[Graph] = []
    kept = 0
    for index, path in enumerate(sorted(corpus.glob("*.cir"))):
        graph = parse_graph(path.read_text(), str(path))
        starts += [graph] if len(graph.nodes) <= LARGEST_START else []
        if index % workers == worker and time.time() < end:
            subject = examine(graph, checks_for(kind, index), tally, out)
            tally.seen |= dict.fromkeys(features(subject), -1)
            kept += 1
    for index in range(worker, count, workers):
        if time.time() > end:
            break
        number = random.Random(f"{seed}:{index}").getrandbits(48)
        start = starts[number % len(starts)] if starts and index % GROW == GROW - 1 else None
        graph = random_network(number, start=start, mixing=mixing)
        subject = examine(graph, checks_for(kind, number), tally, out)
        new = features(subject) - tally.seen.keys()
        tally.seen |= dict.fromkeys(new, index)
        if new and kept * workers < LARGEST_CORPUS:
            keep(graph, corpus)
            kept += 1
    return tally


def keep(graph: Graph, corpus: Path) -> None:
    text = print_graph(graph)
    (corpus / f"{hashlib.blake2b(text.encode(), digest_size=5).hexdigest()}.cir").write_text(text)


def again(paths: list[Path], only: str) -> int:
    """Check files once more."""
    failures = 0
    for path in paths:
        graph = parse_graph(path.read_text(), str(path))
        for name in (only,) if only else (*pass_checks(0), *ENGINE_CHECKS):
            if (wrong := complaint(name, Subject(graph))) is not None:
                failures += 1
                print(f"{path}: {name}: {wrong}")
    print(f"{len(paths)} files, {failures} failures")
    return 1 if failures else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("files", nargs="*", type=Path, help="check these again instead")
    parser.add_argument("--only", default="", help="with files: this check alone")
    parser.add_argument("--seconds", type=float, help="at most; 60 when no count is given")
    parser.add_argument("--count", type=int, help="networks; as many as there is time for when not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check", choices=("passes", "engines", "all", "tvm"), default="passes")
    parser.add_argument("--mixing", action="store_true", help="of float32, and each with tokens, norms, groups or shuffles")
    parser.add_argument("--jobs", type=int, choices=(1, 2), default=min(2, os.cpu_count() or 1))
    parser.add_argument("--corpus", type=Path, default=ROOT / "build" / "fuzz" / "corpus")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "fuzz", help="where failures are written")
    given = parser.parse_args()
    if given.files:
        return again(given.files, given.only)
    seconds = given.seconds or (60 if given.count is None else float("inf"))
    given.corpus.mkdir(parents=True, exist_ok=True)
    known = len(list(given.corpus.glob("*.cir")))
    start = time.time()
    jobs = [
        (i, given.jobs, given.seed, given.check, given.count or sys.maxsize, start + seconds, given.out, given.corpus, given.mixing)
        for i in range(given.jobs)
    ]
    total = Tally()
    if given.jobs == 1:
        total.add(work(*jobs[0]))
    else:
        with multiprocessing.get_context("spawn").Pool(given.jobs) as pool:
            for tally in pool.starmap(work, jobs, chunksize=1):
                total.add(tally)
    report(total, given, known, time.time() - start)
    return 1 if total.failures else 0


def report(total: Tally, given: argparse.Namespace, known: int, seconds: float) -> None:
    rules = sorted(seen for seen in total.seen if " & " not in seen)
    print(f"rules applied ({len(rules)}): {', '.join(rules)}")
    for reason, count in total.skipped.most_common():
        print(f"not run, {count} times: {reason}")
    for key, count in total.failures.most_common():
        print(f"FAILED, {count} times: {key}")
    for path in total.written:
        print(f"  {_short(Path(path))}")
    print(
        f"{total.networks} networks of {total.nodes / max(total.networks, 1):.0f} nodes, {total.checks} checks, "
        f"{sum(total.failures.values())} failures; seed {given.seed}, {given.jobs} processes, {seconds:.0f} s, {known} from the corpus"
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ConvcError as error:
        sys.exit(str(error))
