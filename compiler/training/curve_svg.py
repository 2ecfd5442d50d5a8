"""A run as an SVG picture: loss and accuracy after each epoch, of training and of validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from .checkpoint import Epoch

__all__ = ["curve_svg"]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM, GAP = 720, 360, 56, 16, 56, 44, 64
Reading = Callable[[Epoch], "float | None"]


def curve_svg(title: str, epochs: Sequence[Epoch]) -> str:
    """Two panels where there is an accuracy, else one."""
    panels: list[tuple[str, tuple[Reading, Reading]]] = [("loss", (lambda e: e.loss, lambda e: e.validation_loss))]
    if any(epoch.validation_accuracy is not None for epoch in epochs):
        panels.append(("accuracy", (lambda e: e.accuracy, lambda e: e.validation_accuracy)))
    width = (WIDTH - LEFT - RIGHT - GAP * (len(panels) - 1)) / len(panels)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{WIDTH / 2}" y="20" text-anchor="middle" font-size="14">{escape(title)}</text>',
        f'<text x="{WIDTH / 2}" y="38" text-anchor="middle"><tspan fill="steelblue">training</tspan>'
        ' <tspan fill="firebrick">validation</tspan></text>',
    ]
    for place, (name, readings) in enumerate(panels):
        lines += _panel(LEFT + place * (width + GAP), width, name, epochs, readings)
    return "\n".join([*lines, "</svg>", ""])


def _panel(left: float, width: float, name: str, epochs: Sequence[Epoch], readings: tuple[Reading, Reading]) -> list[str]:
    values = [value for epoch in epochs for reading in readings if (value := reading(epoch)) is not None]
    low, high = (0.0, max(values, default=1.0) or 1.0) if name == "loss" else (min(values, default=0.0), 1.0)
    spread, count = (high - low) or 1.0, max(len(epochs) - 1, 1)
    bottom, height = HEIGHT - BOTTOM, HEIGHT - TOP - BOTTOM

    def at(place: int, value: float) -> str:
        return f"{left + width * place / count:.1f},{bottom - height * (value - low) / spread:.1f}"

    lines = [f'<path d="M{left},{TOP}V{bottom}h{width:.1f}" fill="none" stroke="black"/>']
    lines.append(f'<text x="{left + width / 2:.1f}" y="{HEIGHT - 10}" text-anchor="middle">{name} by epoch, 1 to {len(epochs)}</text>')
    for i in range(5):
        value = low + spread * i / 4
        lines.append(f'<text x="{left - 6}" y="{bottom - height * i / 4 + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for reading, colour in zip(readings, ("steelblue", "firebrick"), strict=True):
        points = [at(place, value) for place, epoch in enumerate(epochs) if (value := reading(epoch)) is not None]
        lines.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return lines
