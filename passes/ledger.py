"""The ledger of one pass: every rewrite it made, and the cap after which it must stop."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Ledger", "Rewrite"]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One application of a rule: the node whose value was computed anew, the nodes taken, the nodes made."""

    rule: str
    root: str
    took: tuple[str, ...]
    made: tuple[str, ...]


@dataclass(slots=True)
class Ledger:
    """`limit` None means no cap. A pass asks `is_open` before it changes anything and records what it did."""

    limit: int | None = None
    rewrites: list[Rewrite] = field(default_factory=list[Rewrite])

    @property
    def is_open(self) -> bool:
        return self.limit is None or len(self.rewrites) < self.limit

    def record(self, rule: str, root: str, took: tuple[str, ...], made: tuple[str, ...] = ()) -> None:
        self.rewrites.append(Rewrite(rule, root, took, made))
