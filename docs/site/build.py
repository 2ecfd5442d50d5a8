"""The site of docs/, by one command: `make site`. A link or an anchor that leads nowhere ends the build.

python docs/site/build.py [--to FOLDER]            FOLDER is build/site; open its index.html
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NEEDED = ("mkdocs", "material", "latex2mathml")
QUIET = {"NO_MKDOCS_2_WARNING": "1"}  # what the theme else says of its own future at each build


def missing() -> list[str]:
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def build(folder: Path) -> int:
    """The exit code of MkDocs."""
    words = ["build", "--strict", "--quiet", "--config-file", ROOT / "mkdocs.yml", "--site-dir", folder.resolve()]
    return subprocess.run([sys.executable, "-m", "mkdocs", *words], check=False, env=os.environ | QUIET).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description="build the site of docs/")
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "site", metavar="FOLDER")
    folder = parser.parse_args().to
    if lacking := missing():
        sys.exit(f'the site is built with {", ".join(lacking)}, not installed here: `make site` does it all, or pip install -e ".[docs]"')
    if code := build(folder):
        return code
    print(f"open {folder / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
