"""The GPUs that kernels are compiled for, by NVIDIA's names of what their instructions are."""

from __future__ import annotations

from dataclasses import dataclass

from ....ir.errors import UsageError

__all__ = ["ARCHITECTURES", "USUAL", "Architecture", "architecture", "best_for", "fitting"]

# KiB of shared memory that a block may have, by compute capability; all others that convc knows have MOST. CUDA C++ Programming Guide 13.0,
# "Technical Specifications per Compute Capability".
SHARED = {(8, 0): 163, (8, 6): 99, (8, 7): 163, (8, 8): 99, (8, 9): 99, (12, 0): 99, (12, 1): 99}
MOST = 227


@dataclass(frozen=True, slots=True)
class Architecture:
    """Its machine code runs on GPUs of its generation that are no older and give a block as much shared memory, or, where it `is_exact`,
    on none but its own. Of `multiprocessors` the largest of its `gpus` has so many. With `wgmma` four warps multiply together.
    """

    name: str
    gpus: str
    capability: tuple[int, int]
    multiprocessors: int
    is_exact: bool = False
    wgmma: bool = False

    @property
    def shared(self) -> int:
        """Bytes of shared memory that a block may have."""
        return _shared(self.capability)

    def runs_on(self, capability: tuple[int, int]) -> bool:
        (major, minor), (has_major, has_minor) = self.capability, capability
        knows = minor == has_minor if self.is_exact else minor <= has_minor
        return major == has_major and knows and self.shared <= _shared(capability)


def _shared(capability: tuple[int, int]) -> int:
    return SHARED.get(capability, MOST) << 10


ARCHITECTURES = {
    each.name: each
    for each in (
        Architecture("sm_80", "A100", (8, 0), 108),
        Architecture("sm_86", "A10, A40, RTX 30", (8, 6), 84),
        Architecture("sm_89", "L4, L40, RTX 40", (8, 9), 142),
        Architecture("sm_90", "H100, H200", (9, 0), 132),
        Architecture("sm_90a", "H100, H200, wgmma included", (9, 0), 132, is_exact=True, wgmma=True),
        Architecture("sm_100", "B200", (10, 0), 148),
        Architecture("sm_120", "RTX 50, RTX PRO Blackwell", (12, 0), 188),
    )
}
USUAL = ARCHITECTURES["sm_90"]


def architecture(name: str) -> Architecture:
    """Raises: UsageError for one that is not known."""
    if name not in ARCHITECTURES:
        known = ", ".join(f"{each.name} ({each.gpus})" for each in ARCHITECTURES.values())
        raise UsageError(f"unknown GPU architecture '{name}'; known are {known}")
    return ARCHITECTURES[name]


def fitting(capability: tuple[int, int]) -> Architecture | None:
    """The newest whose code a GPU runs, those left out that run on no other."""
    able = [each for each in ARCHITECTURES.values() if each.runs_on(capability) and not each.is_exact]
    return max(able, key=lambda each: each.capability, default=None)


def best_for(capability: tuple[int, int]) -> Architecture | None:
    """What is compiled on a machine for the GPU that is there: for it alone where that has more instructions, else as `fitting`."""
    own = (each for each in ARCHITECTURES.values() if each.is_exact and each.runs_on(capability))
    return next(own, fitting(capability))
