"""The reference pages, from the tables, docstrings and golden files of the compiler. `make docs` writes them.

python docs/generate.py            writes what changed, removes what is of nobody
python docs/generate.py --check    names what is not current, exit code 1: a test does so
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from convc.docs.site.commands_page import commands_pages
from convc.docs.site.markdown import joined
from convc.docs.site.ops_page import ops_pages
from convc.docs.site.passes_page import passes_pages
from convc.docs.site.python_page import python_pages

HERE = Path(__file__).parent
# Folders in which nothing is written by hand.
ROOMS = {"ops": ops_pages, "passes": passes_pages, "commands": commands_pages, "python": python_pages}


def pages() -> dict[Path, str]:
    """The text of every page, by its path in docs/."""
    return {HERE / room / name: joined(blocks) for room, make in ROOMS.items() for name, blocks in make().items()}


def main() -> int:
    parser = argparse.ArgumentParser(description="write the reference pages of docs/")
    parser.add_argument("--check", action="store_true", help="write nothing; name the pages that are not current")
    check = parser.parse_args().check
    wanted = pages()
    stale = {page: text for page, text in wanted.items() if _text(page) != text}
    extra = [page for room in ROOMS for page in sorted((HERE / room).glob("*.md")) if page not in wanted]
    for page in (*stale, *extra):
        name = page.relative_to(HERE).as_posix()
        if check:
            print(f"docs/{name} is not current; run `make docs`")
        elif page in stale:
            page.parent.mkdir(exist_ok=True)
            page.write_text(stale[page], encoding="utf-8")
            print(f"wrote docs/{name}")
        else:
            page.unlink()
            print(f"removed docs/{name}")
    return 1 if check and (stale or extra) else 0


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8") if page.is_file() else ""


if __name__ == "__main__":
    sys.exit(main())
