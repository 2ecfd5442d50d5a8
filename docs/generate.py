"""The reference pages docs/ops.md and docs/passes.md, from the tables that the compiler itself reads. `make docs` writes them.

python docs/generate.py            writes what changed
python docs/generate.py --check    names what is not current, exit code 1: a test does so
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from convc.docs.markdown import joined
from convc.docs.ops_page import ops_page
from convc.docs.passes_page import passes_page

HERE = Path(__file__).parent


def pages() -> dict[str, str]:
    """The text of every page, by the file's name."""
    return {"ops.md": joined(ops_page()), "passes.md": joined(passes_page())}


def main() -> int:
    parser = argparse.ArgumentParser(description="write docs/ops.md and docs/passes.md")
    parser.add_argument("--check", action="store_true", help="write nothing; name the pages that are not current")
    check = parser.parse_args().check
    stale = {HERE / name: text for name, text in pages().items() if _text(HERE / name) != text}
    for page, text in stale.items():
        if not check:
            page.write_text(text, encoding="utf-8")
        print(f"docs/{page.name} is not current; run `make docs`" if check else f"wrote docs/{page.name}")
    return 1 if check and stale else 0


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8") if page.is_file() else ""


if __name__ == "__main__":
    sys.exit(main())
