"""What a refusal of an unknown name ends with: the nearest names that exist, or where to look for one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from .legible import legible

__all__ = ["did_you_mean", "not_there"]

LOOKED_AT = 10_000  # names in a folder


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "", *, most: int = 1, widely: bool = False) -> str:
    """`; did you mean 'relu'?`; where nothing is near, `; ` and what there is to say `otherwise`, or nothing.

    It names up to `most`. Asked `widely` up to three, and more distant ones: for names that people know in many spellings.
    """
    from difflib import get_close_matches  # of use only where something is wrong

    near = get_close_matches(word, list(known), *((3, 0.4) if widely else (most, 0.6)))
    if near:
        return f"; did you mean {', '.join(near)}?" if widely or most > 1 else f"; did you mean '{near[0]}'?"
    return f"; {otherwise}" if otherwise else ""


def not_there(named: Path | str, kind: str = "file", apart: str = "") -> str:
    """`there is no file 'nets/wieghts.npz'; did you mean 'nets/weights.npz'?`: the nearest name in its folder, or for the first folder on
    the way that is not there, if one is near. Of what is there, as a pipe or a folder, that it is not a `kind`. What ends with
    `apart` is not named.
    """
    path = Path(named)
    try:
        if path.exists():
            return f"'{legible(named)}' is not a {kind}"
        missing = next((each for each in reversed(path.parents) if not each.exists()), path)
        names = [each.name for each in islice(missing.parent.iterdir(), LOOKED_AT)]
        beside = sorted(name for name in names if not apart or not name.endswith(apart))
    except OSError:  # such as a name that is too long
        missing, beside = path, list[str]()
    near = did_you_mean(missing.name, beside).removeprefix("; did you mean '").removesuffix("'?")
    rest = path.relative_to(missing)
    return f"there is no {kind} '{legible(named)}'" + (f"; did you mean '{legible(missing.parent / near / rest)}'?" if near else "")
