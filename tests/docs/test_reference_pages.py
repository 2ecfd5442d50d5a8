"""The pages of ops, passes, commands and the Python interface say what tables, docstrings and golden files say now."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import convc
from convc.docs.site.python_page import _paragraph

GENERATOR = Path(convc.__file__).parent / "docs" / "generate.py"


def test_a_word_before_a_colon_within_a_sentence_begins_no_item():
    """It once read "of all that runs; - `default`: one a core"."""
    assert _paragraph("threads: of all; default: one a core.") == "- `threads`: of all; default: one a core."
    stray = [
        page.name for page in GENERATOR.parent.glob("python/*.md") if re.search(r"\S - `[a-z]\w*`: ", page.read_text(encoding="utf-8"))
    ]
    assert not stray


def test_every_number_that_a_command_takes_has_a_range():
    rows = [line for page in GENERATOR.parent.glob("commands/*.md") for line in page.read_text(encoding="utf-8").splitlines()]
    numbers = [line for line in rows if re.match(r"\| `--?\S+` (N|X|SECONDS) \|", line)]
    assert len(numbers) > 50
    assert not [line for line in numbers if not re.search(r"From |Above |, from 0\.|7 or newer", line)]


def test_the_reference_pages_are_current():
    done = subprocess.run([sys.executable, str(GENERATOR), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
