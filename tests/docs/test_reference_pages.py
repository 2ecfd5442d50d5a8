"""The pages of ops, passes, commands and the Python interface say what tables, docstrings and golden files say now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import convc

GENERATOR = Path(convc.__file__).parent / "docs" / "generate.py"


def test_the_reference_pages_are_current():
    done = subprocess.run([sys.executable, str(GENERATOR), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
