"""The ledger of one pass: every rewrite it made and every one it declined, the cap after which it must stop, and the prices it goes by."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..analysis.prices import Prices

__all__ = ["Decline", "Ledger", "Rewrite"]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One application of a rule: the node whose value was computed anew, the nodes taken, the nodes made."""

    rule: str
    root: str
    took: tuple[str, ...]
    made: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decline:
    """A place where a rule could have been applied and was not, and why."""

    rule: str
    root: str
    why: str


@dataclass(slots=True)
class Ledger:
    """`limit` None means no cap. A pass asks `is_open` before it changes anything and records what it did."""

    prices: Prices
    limit: int | None = None
    rewrites: list[Rewrite] = field(default_factory=list[Rewrite])
    declined: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    @property
    def is_open(self) -> bool:
        return self.limit is None or len(self.rewrites) < self.limit

    def record(self, rule: str, root: str, took: tuple[str, ...], made: tuple[str, ...] = ()) -> None:
        self.rewrites.append(Rewrite(rule, root, took, made))
        self.declined.pop((rule, root), None)

    def decline(self, rule: str, root: str, why: str) -> None:
        """The last reason counts: a pass may look at a place several times."""
        self.declined[rule, root] = why

    @property
    def declines(self) -> tuple[Decline, ...]:
        return tuple(Decline(rule, root, why) for (rule, root), why in self.declined.items())
