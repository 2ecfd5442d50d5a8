"""What a refusal of an unknown name ends with: the nearest names that exist, or where to look for one."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "", *, widely: bool = False) -> str:
    """`; did you mean 'relu'?`; where nothing is near, `; ` and what there is to say `otherwise`, or nothing.

    Asked `widely` it names up to three, and more distant ones: for names that people know in many spellings.
    """
    from difflib import get_close_matches  # of use only where something is wrong

    near = get_close_matches(word, list(known), *((3, 0.4) if widely else (1, 0.6)))
    if near:
        return f"; did you mean {', '.join(near)}?" if widely else f"; did you mean '{near[0]}'?"
    return f"; {otherwise}" if otherwise else ""
