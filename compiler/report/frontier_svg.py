"""The frontier of plans as an SVG picture: what is left of the cost against the predicted error, and the plan on it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

__all__ = ["pareto_svg"]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 400, 70, 20, 40, 50

Point = tuple[float, float]  # share of the cost, relative error


def pareto_svg(title: str, cost: str, curve: Sequence[Point], marks: Sequence[tuple[str, Point]]) -> str:
    """`curve` as a line; each of `marks` as a dot with its name."""
    points = [*curve, *(point for _, point in marks)]
    most_x, most_y = max((x for x, _ in points), default=1.0) or 1.0, max((y for _, y in points), default=1.0) or 1.0

    def at(point: Point) -> tuple[float, float]:
        x, y = point[0] / most_x, point[1] / most_y
        return round(LEFT + x * (WIDTH - LEFT - RIGHT), 1), round(HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM), 1)

    (x0, y0), (x1, y1) = at((0, 0)), at((most_x, most_y))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{WIDTH / 2}" y="22" text-anchor="middle" font-size="14">{escape(title)}</text>',
        f'<path d="M{x0},{y1}V{y0}H{x1}" fill="none" stroke="black"/>',
        f'<text x="{(x0 + x1) / 2}" y="{HEIGHT - 10}" text-anchor="middle">share of the {escape(cost)} left</text>',
        f'<text transform="translate(16,{(y0 + y1) / 2}) rotate(-90)" text-anchor="middle">relative output error</text>',
    ]
    for i in range(6):
        (x, _), (_, y) = at((most_x * i / 5, 0)), at((0, most_y * i / 5))
        lines.append(f'<text x="{x}" y="{y0 + 16}" text-anchor="middle">{most_x * i / 5:.2g}</text>')
        lines.append(f'<text x="{x0 - 6}" y="{y + 4}" text-anchor="end">{most_y * i / 5:.2g}</text>')
    path = " ".join(f"{x},{y}" for x, y in map(at, curve))
    lines.append(f'<polyline points="{path}" fill="none" stroke="steelblue" stroke-width="2"/>')
    for number, (name, point) in enumerate(marks):
        x, y = at(point)
        lines.append(f'<circle cx="{x}" cy="{y}" r="4" fill="firebrick"/>')
        side, shift = ("end", -8) if x > WIDTH / 2 else ("start", 8)
        lines.append(f'<text x="{x + shift}" y="{y - 6 - 14 * number}" text-anchor="{side}">{escape(name)}</text>')
    return "\n".join([*lines, "</svg>", ""])
