"""Grad-CAM: where a layer's maps speak for a class. Selvaraju et al. 2017, sec. 3, as a graph."""

from __future__ import annotations

from ...ir.errors import UsageError
from ...ir.gradient import NodeMaker, pulled_back
from ...ir.graph import Graph
from ...ir.legible import legible
from ..engines.engine import Engine
from .backward import ending
from .colours import enlarged, heat_over, sequential
from .photograph import Photograph
from .running import repeated, started
from .sheet import Framed, Look, scaled_up, sheet
from .units import image_of, last_map, maps_of, need_unit, score_of, scored

__all__ = ["class_map", "grad_cam"]


def grad_cam(graph: Graph, class_: int, layer: str = "") -> Graph:
    """Each map of a layer (default: the last before the classes) times the mean slope of the class's score along it, summed, rectified.

    `graph` takes one picture; `class_` is a number from 0.

    It gives `score` [N,1] and `cam` [N,1,H,W], of the layer's size. The score is that before a softmax, and of a network that scores each
    place the mean of them all.

    Source: Selvaraju et al. 2017, eq. 1 and 2. Raises: UsageError for a class or layer that does not exist, and a layer that the score
    does not depend on.
    """
    image_of(graph)
    scores = score_of(graph)
    need_unit(scores, class_)
    maps = maps_of(graph, layer) if layer else last_map(graph, scores)
    maker = NodeMaker([*(node.name for node in graph.nodes), "score", "cam"])
    maker.way = "cam"
    maker.at = scores
    score = maker.term(scores).cut(1, class_, class_ + 1)
    score = score.mean(*range(2, score.rank))
    seed = score.full(score.shape, 1)
    before = Graph.of(graph.name, graph.inputs, [score.value, seed.value, maps], [*graph.nodes, *maker.made])
    slopes = pulled_back(before, score.value, seed, [maps], maker, way_out="name a --layer that stands after it").of
    if maps not in slopes:
        raise UsageError(
            f"the scores of %{legible(scores.name)} do not change with %{legible(maps.name)}; name a layer that stands before them"
        )
    maker.at = maps
    weights = maker.term(slopes[maps]).mean(2, 3, keepdims=True)
    cam = (weights * maker.term(maps)).sum(1, keepdims=True).op("relu")
    return ending(f"{graph.name}_cam", graph.inputs, {"score": score.value, "cam": cam.value}, [*before.nodes, *maker.made])


def class_map(
    graph: Graph, photo: Photograph, class_: int, engine: Engine, *, layer: str = "", called: str = "", threads: int | None = None
) -> Look:
    """`grad_cam` over the photograph. Raises: as `grad_cam`."""
    network = grad_cam(graph, class_, layer)
    run = started(network, engine, threads)
    got = run({network.inputs[0].name: repeated(network, photo.values)})
    score, cam = (got[node.name][0] for node in network.outputs)
    scores = score_of(graph)
    plane, name = cam[0], layer or last_map(graph, scores).name
    strongest = float(plane.max())
    rows, cols = plane.shape
    heat = heat_over(photo.pixels, enlarged(plane, photo.size), strongest)
    bare = scaled_up(sequential(plane, strongest), max(1, photo.size[0] // rows))
    title = f"{called or f'class {class_}'}: {scored(scores, float(score[0]))}, Grad-CAM of %{legible(name)}"
    tiles = [
        Framed(photo.pixels, (photo.name,)),
        Framed(heat, (f"full at {strongest:.3g}" if strongest > 0 else "nothing speaks for it",)),
        Framed(bare, (f"{rows}x{cols}, as computed",)),
    ]
    figures = {"class": class_, "layer": name, "score": float(score[0]), "largest": strongest, "map": plane.tolist()}
    lines = (f"{title}; largest {strongest:.4g}",)
    return Look(sheet(title, tiles, 3, ["Selvaraju et al. 2017"]), lines, figures)
