"""Golden files: several cases each, of input text and what the pass makes of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

HEADER = re.compile(r"^# case: (.+)$", re.MULTILINE)
VERDICT = re.compile(r"^# (expect|error):(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """`expected` is the text after the pass, None where `error` is the refusal it must give."""

    file: str
    name: str
    text: str
    expected: str | None
    error: str | None

    @property
    def is_refusal(self) -> bool:
        return self.error is not None or self.expected == self.text


def load_cases(path: Path) -> list[Case]:
    """Every case of a file. A file with leftovers before its first case, or with no case, is refused."""
    parts = HEADER.split(path.read_text())
    if parts[0].strip():
        raise ValueError(f"{path.name}: text before the first '# case:'")
    cases = [_case(path, name.strip(), body) for name, body in zip(parts[1::2], parts[2::2], strict=True)]
    if not cases:
        raise ValueError(f"{path.name}: no cases")
    if len({case.name for case in cases}) != len(cases):
        raise ValueError(f"{path.name}: two cases have the same name")
    return cases


def _case(path: Path, name: str, body: str) -> Case:
    verdicts = list(VERDICT.finditer(body))
    if len(verdicts) != 1:
        raise ValueError(f"{path.name}: case '{name}' has {len(verdicts)} verdicts, expected one '# expect:' or '# error:'")
    (verdict,) = verdicts
    text, rest, word = body[: verdict.start()].strip() + "\n", body[verdict.end() :].strip(), verdict.group(2).strip()
    if verdict.group(1) == "error":
        if rest or not word:
            raise ValueError(f"{path.name}: case '{name}': an error is one line and nothing after it")
        return Case(path.name, name, text, None, word)
    if word == "unchanged":
        if rest:
            raise ValueError(f"{path.name}: case '{name}': text after 'unchanged'")
        return Case(path.name, name, text, text, None)
    if word or not rest:
        raise ValueError(f"{path.name}: case '{name}': write the expected text below '# expect:', or 'unchanged'")
    return Case(path.name, name, text, rest + "\n", None)
