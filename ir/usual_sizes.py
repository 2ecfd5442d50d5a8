"""A number for each named size of a network that nobody gave one: what checks run at, and what figures are counted at."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from .binding import batch_names, specialize
from .dims import Expr, evaluate, linear
from .errors import InvalidModel
from .graph import Graph
from .verifier import verify_graph

__all__ = ["counting_sizes", "one_image", "other_sizes", "usual_sizes"]

USUAL = (32, 64, 128, 224, 256, 512, 1024)  # tried in turn for rows and columns that have only a name
SEQUENCES = (2048, 4096, 8192, 16384, 32768, 65536)  # samples of sound want windows that no picture has
SMALL = (16, 8, 4, 2, 1)  # what is cut from a table of a few entries may be no longer
DECIMAL = (10, 20, 30, 40, 60, 80, 96, 100, 120, 160, 200, 240, 320, 480, 640, 800, 1000, 1600, 8000, 16000)  # multiples of 3 and 5
MIXED = (64, 8, 224, 1024, 1, 16384)  # sizes that must differ: a few images beside long sequences
BESIDE = (1, 3, 2, 5, 4, 8, 16, 32, 64, 10, 20, -1, -2)  # how far a second size lies from the first; odd ones find more
MOST_TRIES = 400
MOST_ELEMENTS = 1 << 26  # of one value; a square picture of 65536 rows would fill the memory


def usual_sizes(graph: Graph, given: Mapping[str, int] | None = None) -> dict[str, int]:
    """A number for every named size: those `given`; 1 for a batch, for others the first of USUAL at which every layer fits and every
    output has an element. Where none does larger, smaller and mixed ones are tried.

    Raises: InvalidModel if nothing fits, with what is wrong at the first.
    """
    given = {name: size for name, size in (given or {}).items() if name in graph.symbols}
    first = {found[0] for node in graph.inputs if node.typed.rank and (found := linear(node.typed.shape[0])) is not None}
    batch = [name for name in graph.symbols if name in first and name not in given]
    others = [name for name in graph.symbols if name not in batch and name not in given]
    if not batch and not others:
        return dict(given)
    complaint = ""
    for sizes in itertools.islice(_candidates(batch, others), MOST_TRIES):
        wrong = _what_is_wrong(graph, given | sizes, may_be_large=max(sizes.values()) <= USUAL[-1])
        if not wrong:
            return given | sizes
        complaint = complaint or wrong
    names = ", ".join(others) or ", ".join(batch)
    raise InvalidModel(f"no usual size of {names} fits every layer; {complaint}; --input NAME:SHAPE gives one")


def counting_sizes(graph: Graph) -> dict[str, int]:
    """The numbers at which work and memory are counted: usual sizes, or where none of them fits USUAL's first. A batch of 1 is left out:
    it counts so wherever it has no number.
    """
    batch, found = batch_names(graph), dict.fromkeys(graph.found_symbols, 1)
    if set(graph.symbols) <= one_image(graph).keys():
        return found
    try:
        sizes = usual_sizes(graph)
    except InvalidModel:
        sizes = dict.fromkeys(graph.symbols, USUAL[0]) | dict.fromkeys(batch, 1)
    return found | {name: size for name, size in sizes.items() if name not in batch or size != 1}


def one_image(graph: Graph) -> dict[str, int]:
    """1 for each batch that has only a name; nothing where that would make some size negative, as of N-5 rows."""
    ones = dict.fromkeys(batch_names(graph), 1)
    sizes = {dim for node in graph.nodes for dim in node.typed.shape if isinstance(dim, Expr)}
    found = [evaluate(dim, ones) for dim in sizes]
    return {} if any(isinstance(size, int) and size < 0 for size in found) else ones


def other_sizes(graph: Graph) -> dict[str, int]:
    """Numbers for the named sizes, other than the usual ones for all but the batch; none where nothing else has a name, or nothing fits."""
    batch = batch_names(graph)
    others = [name for name in graph.symbols if name not in batch]
    try:
        first = usual_sizes(graph) if others else {}
    except InvalidModel:
        return {}
    uneven = [dict(zip(others, BESIDE[i:] + BESIDE[:i], strict=False)) for i in range(4 if len(others) > 1 else 0)]
    for steps in (*uneven, *(dict.fromkeys(others, step) for step in BESIDE)):
        sizes = first | {name: first[name] + step for name, step in steps.items()}
        if others and min(sizes.values()) > 0 and not _what_is_wrong(graph, sizes, may_be_large=False):
            return sizes
    return {}


def _candidates(batch: Sequence[str], others: Sequence[str]) -> Iterator[dict[str, int]]:
    """Numbers for these names, the likely ones first; then a batch that is no 1, since it may be cut into parts."""
    one = dict.fromkeys(batch, 1)
    alike = [*USUAL, *SEQUENCES, *SMALL, *DECIMAL] if others else [1]
    for size in alike:
        yield one | dict.fromkeys(others, size)
    if len(others) > 1:
        for sizes in itertools.product(MIXED, repeat=len(others)):
            if len(set(sizes)) > 1:
                yield one | dict(zip(others, sizes, strict=True))
    for images in (2, 4, 8, 16, 32) if batch else ():
        for size in (USUAL[0], USUAL[3]) if others else (1,):
            yield dict.fromkeys(batch, images) | dict.fromkeys(others, size)


def _what_is_wrong(graph: Graph, sizes: Mapping[str, int], *, may_be_large: bool) -> str:
    try:
        numbered = specialize(graph, sizes)
        verify_graph(numbered)
    except InvalidModel as error:
        return str(error)
    given = ", ".join(f"{name}={size}" for name, size in sizes.items())
    for was, node in zip(graph.outputs, numbered.outputs, strict=True):
        if node.typed.numel == 0 and was.typed.numel != 0:
            return f"{node.where} has no element where {given}"
    if not may_be_large and any(math.prod(node.typed.concrete()) > MOST_ELEMENTS for node in numbered.nodes if node.weights is None):
        return f"values would be too large where {given}"
    return ""
