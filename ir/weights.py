"""Parameter values: an array, or a recipe that makes one when somebody looks.

Looking at VGG-16 must not cost 528 MiB, so a zoo network holds recipes. A recipe is a kind of
initializer, a seed and a key; the same three give the same numbers on every machine.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .errors import InvalidModel
from .memory import need_bytes
from .types import DTYPES, Array, TensorType, widened

__all__ = ["FANS", "FILLED", "GIVEN", "INITS", "Recipe", "Weights"]

# How values are drawn; `given` means that they come from outside (a file, or a pass computed them).
INITS = {
    "auto": "he for rank two and more, else around_one: what a bare `param` in a text gets",
    "he": "normal, variance 2/fan_in (He et al. 2015, Delving Deep, eq. 10)",
    "he_uniform": "uniform of the same variance",
    "he_out": "normal, variance 2/fan_out: what keeps gradients (He et al. 2015, Delving Deep, eq. 14)",
    "he_out_uniform": "uniform of the same variance",
    "xavier": "normal, variance 2/(fan_in+fan_out) (Glorot & Bengio 2010, eq. 12)",
    "xavier_uniform": "uniform of the same variance, within sqrt(6/(fan_in+fan_out)) (Glorot & Bengio 2010, eq. 16)",
    "around_one": "uniform in [0.75, 1.25]: gains and variances",
    "small": "normal, deviation 0.05: biases and means",
    "tenth": "uniform in [0.1, 0.3]: the last gain of a residual branch (Goyal et al. 2017, sec. 5.1)",
    "zeros": "all 0",
    "ones": "all 1",
    "full": "all `value`",
    "given": "values come with the weights file",
    "constant": "so do these, and are part of the network's definition: nobody trains them",
    "trained": "so do these, and are trained, a single number too",
}
GIVEN = ("given", "constant", "trained")
FILLED = ("zeros", "ones", "full")  # one number, whatever the extents: nothing is drawn, so key and seed do not matter
UNIFORM = "_uniform"
# Over what 2 is the variance: sums that come in, sums that go out, or both.
_OVER: dict[str, Callable[[int, int], int]] = {
    "he": lambda fan_in, fan_out: fan_in,
    "he_out": lambda fan_in, fan_out: fan_out,
    "xavier": lambda fan_in, fan_out: fan_in + fan_out,
}
DRAWN = 100.0  # no draw is as large: a normal one of deviation 1.5 at most would have to be 66 deviations off
FANS = {f"{name}{shape}": over for name, over in _OVER.items() for shape in ("", UNIFORM)}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to draw a parameter: initializer, seed, and the key that sets it apart from its siblings.

    `value` is what `full` fills with.
    """

    init: str
    key: str
    seed: int = 0
    value: float = 0.0

    def make(self, type_: TensorType) -> Array:
        shape = type_.concrete()
        dtype = DTYPES[type_.dtype]
        init = self.init if self.init != "auto" else ("he" if len(shape) > 1 else "around_one")
        if init in FILLED:
            return np.full(shape, self.value if init == "full" else init == "ones", dtype=dtype)
        # float32 draws are twice as fast as float64 and enough for any weight
        draws = np.random.Generator(np.random.SFC64(_seed_of(self.key, self.seed)))
        if init in ("around_one", "tenth"):
            low, high = (0.75, 1.25) if init == "around_one" else (0.1, 0.3)
            return (low + (high - low) * draws.random(shape, dtype=np.float32)).astype(dtype)
        if init.endswith(UNIFORM):
            bound = math.sqrt(3) * _deviation(init.removesuffix(UNIFORM), shape)
            return ((2 * draws.random(shape, dtype=np.float32) - 1) * np.float32(bound)).astype(dtype)
        values = draws.standard_normal(shape, dtype=np.float32)
        values *= np.float32(_deviation(init, shape))
        return values.astype(dtype, copy=False)


@dataclass(frozen=True, eq=False, slots=True)
class Weights:
    """The value of one parameter. Lazy: `array()` makes it once and keeps it.

    `compute` makes the values of a parameter that a pass derived from others, none larger than `most`.

    Raises: InvalidModel from `array()` when values were to be given and were not.
    """

    type: TensorType
    recipe: Recipe
    compute: Callable[[], Array] | None = None
    _made: list[Array] = field(default_factory=list[Array])
    most: float = math.inf

    @staticmethod
    def of(array: Array, key: str) -> Weights:
        """Given values; the array is kept as it is and must not change afterwards."""
        return Weights(TensorType.of(array), Recipe("given", key), None, [_frozen(array.view())])

    @staticmethod
    def derived(type_: TensorType, key: str, compute: Callable[[], Array], most: float = math.inf) -> Weights:
        """Values that `compute` makes when somebody looks, none larger than `most`; they are cast to the type once."""
        return Weights(type_, Recipe("given", key), compute, most=most)

    @property
    def is_given(self) -> bool:
        return self.recipe.init in GIVEN

    @property
    def is_stored(self) -> bool:
        """Whether the values came as an array, from a file or from the user, and not by a computation that can be repeated."""
        return self.is_given and self.compute is None

    @property
    def is_missing(self) -> bool:
        """Whether values were to be given and were not."""
        return self.is_stored and not self._made

    @property
    def largest(self) -> float:
        """A bound on the size of its values, for which none are drawn; infinite where none is known."""
        if self.compute is not None or self.is_missing:
            return self.most
        if self._made:
            values = widened(self._made[0])
            return max(float(values.max(initial=0)), -float(values.min(initial=0)))
        return abs(float(self.recipe.value)) if self.recipe.init == "full" else DRAWN

    def array(self) -> Array:
        if not self._made:
            self._made.append(self.drawn())
        return self._made[0]

    def drawn(self) -> Array:
        """The values without keeping them, for looks and writes that must stay small."""
        if self._made:
            return self._made[0]
        nbytes = self.type.nbytes
        need_bytes(f"parameter '{self.recipe.key}', {self.type},", nbytes if isinstance(nbytes, int) else 0, "choose a smaller network")
        if self.compute is not None:
            with np.errstate(all="ignore"):  # infinities and NaN are the network's own, as a run would come to them
                return _frozen(np.asarray(self.compute(), DTYPES[self.type.dtype], order="C"))  # the one rounding
        if self.is_missing:
            raise InvalidModel(f"parameter '{self.recipe.key}' has no values here; give its weights file")
        return _frozen(np.asarray(self.recipe.make(self.type)))  # of rank 0, arithmetic gives a scalar

    def wide(self) -> Array:
        """The values in float64, derived ones before their rounding: what the oracle and further folding use."""
        if not self.type.is_float:
            return self.drawn()
        with np.errstate(all="ignore"):
            return np.asarray(self.compute() if self.compute is not None else self.array(), dtype=np.float64)


def _frozen(array: Array) -> Array:
    array.flags.writeable = False
    return array


def _deviation(init: str, shape: tuple[int, ...]) -> float:
    if init == "small":
        return 0.05
    fan_in = max(math.prod(shape[1:]), 1)
    fan_out = max(math.prod(shape) // max(shape[1], 1), 1) if len(shape) > 1 else 1
    return math.sqrt(2.0 / FANS[init](fan_in, fan_out))


def _seed_of(key: str, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=16).digest(), "little")
