"""Every way convc refuses, and the exit code of the command line for each."""

from __future__ import annotations

__all__ = [
    "ArtifactError",
    "BackendMissing",
    "BudgetMissed",
    "ConvcError",
    "Ended",
    "InvalidInput",
    "InvalidModel",
    "KernelFault",
    "KernelMissing",
    "Mismatch",
    "OutOfMemory",
    "ParseError",
    "PassFault",
    "PassRolledBack",
    "ShapeError",
    "UnsupportedOp",
    "UsageError",
]


class ConvcError(Exception):
    """A refusal in one sentence. `exit_code` is what the command line returns for it."""

    exit_code = 3


class Ended(SystemExit):
    """SIGTERM, raised where it finds us, so that what is half-written is taken away. No refusal: whoever asked is not there any more."""


class Mismatch(ConvcError):
    """Two results that should agree differ by more than rounding explains."""

    exit_code = 1


class KernelFault(ConvcError):
    """A kernel that breaks a rule of the device that it runs on."""

    exit_code = 1


class PassFault(ConvcError):
    """A pass that broke a sound graph, and without which nothing of use is left."""

    exit_code = 1


class BudgetMissed(ConvcError):
    """A plan that costs more than was asked for, once measurement has rejected some of it."""

    exit_code = 1


class UsageError(ConvcError):
    """A wrong request: an unknown model, pass, option or output path."""

    exit_code = 2


class InvalidModel(ConvcError):
    """A graph that breaks the rules of the IR."""


class ShapeError(InvalidModel):
    """Operands that do not fit an op. The caller adds the node and the user's line."""


class ParseError(InvalidModel):
    """Text that is not IR.

    Units: `line` and `column` count from 1.
    """

    def __init__(self, message: str, line: int, column: int, path: str = "<text>") -> None:
        super().__init__(f"{path}:{line}:{column}: {message}")
        self.line = line
        self.column = column


class InvalidInput(ConvcError):
    """Data that does not fit the network: an image, an array, a weights file."""


class ArtifactError(InvalidInput):
    """An artifact directory with a missing, altered or unknown file."""


class OutOfMemory(ConvcError):
    """What was asked for takes more memory than there is."""

    exit_code = 6


class UnsupportedOp(ConvcError):
    """A target that cannot express an op."""

    exit_code = 4


class KernelMissing(UnsupportedOp):
    """An engine that is here and has no kernel for what its own format can say."""


class BackendMissing(ConvcError):
    """A backend, or the device it needs, that this machine does not have."""

    exit_code = 5


class PassRolledBack(UserWarning):
    """A pass that broke a sound graph was left out: a fault of ours, and nothing that the network's owner could mend."""
