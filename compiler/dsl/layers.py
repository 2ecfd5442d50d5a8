"""Layers: functions from values to values, in the words of the papers. Each kind has a file, and all are found here.

Input channels and flattened features are inferred, and over how many axes a window goes: one of a sequence (N,C,L), two of an
image, three of a volume (N,C,D,H,W). `pad` is `"same"` (the odd pixel after), `"same_lower"` (before), `"valid"`, a number, or
(top, left, bottom, right); a kernel or stride is a number or (rows, columns). `name` names the layer; `weights` names its
parameters, which every layer that says the same shares; `init` is how filters are drawn, `he` or `xavier_uniform` for two.
"""

from __future__ import annotations

from . import activations, blocks, norms, pools, products, ranks, reductions, shapes, transformer, values
from .activations import *  # noqa: F403
from .blocks import *  # noqa: F403
from .norms import *  # noqa: F403
from .pools import *  # noqa: F403
from .products import *  # noqa: F403
from .ranks import *  # noqa: F403
from .reductions import *  # noqa: F403
from .shapes import *  # noqa: F403
from .transformer import *  # noqa: F403
from .values import *  # noqa: F403

__all__: list[str] = []
__all__ += activations.__all__
__all__ += blocks.__all__
__all__ += norms.__all__
__all__ += pools.__all__
__all__ += products.__all__
__all__ += ranks.__all__
__all__ += reductions.__all__
__all__ += shapes.__all__
__all__ += transformer.__all__
__all__ += values.__all__
