"""Small modules, each with something that a compiler of modules has to see."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["BothWays", "Branching", "Counting", "Halved", "Looking", "Small", "Unsaid"]


class Small(nn.Module):
    """A norm that is folded, a residual sum, and a pool."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Linear(width, 10)
        with torch.no_grad():
            self.norm.running_mean.normal_()
            self.norm.running_var.uniform_(0.5, 2)

    def forward(self, image: Any) -> Any:
        x = torch.relu(self.norm(self.first(image)))
        x = torch.relu(self.second(x) + x)
        return self.last(x.mean((2, 3)))


class Branching(nn.Module):
    """Control flow that depends on data."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x: Any) -> Any:
        y = torch.relu(self.conv(x))
        if y.sum() > 100:
            return y * 2
        return y + 1


class BothWays(nn.Module):
    """Two results by name, of two inputs with one batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x: Any, scale: Any) -> dict[str, Any]:
        y = self.conv(x) * scale[:, :, None, None]
        return {"y": y, "mean": y.mean((1, 2, 3))}


class Halved(nn.Module):
    """What it gives is a piece of what it is given."""

    def forward(self, x: Any) -> Any:
        return x[:, :2]


class Counting(nn.Module):
    """Writes to a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Any) -> Any:
        self.calls += 1
        return x * self.calls


class Unsaid(nn.Module):
    """A function that ONNX has no words for."""

    def forward(self, x: Any) -> Any:
        return torch.special.bessel_j0(x) + 1


class Looking(nn.Module):
    """A print in between, at which Dynamo breaks the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1)

    def forward(self, x: Any) -> Any:
        y = torch.relu(self.conv(x))
        torch._dynamo.graph_break()
        return self.last(y)
