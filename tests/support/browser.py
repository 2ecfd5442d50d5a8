"""A report in headless Chromium, which is asked by name: what it shows, what it says, and how long it takes."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
NEEDED = "the tests of reports look at them in Chromium, which is not here: install it (on Debian: apt-get install chromium), or name it in CHROMIUM"
# Until what was asked for is on the screen.
PAINTED = "new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"


def chromium() -> str:
    """Raises: SystemExit, saying what is needed, where there is none."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None or not Path(found).exists():
        sys.exit(NEEDED)
    return found


@contextmanager
def started() -> Iterator[Any]:
    """A browser that has no way out."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # which Chromium refuses root
        browser = play.chromium.launch(executable_path=chromium(), args=sandbox)
        try:
            yield browser
        finally:
            browser.close()


class Seen:
    """A report on the screen. `said` are all messages of its console and errors, `asked` all that it wanted to fetch."""

    def __init__(self, browser: Any, path: Path, width: int = 1440, height: int = 900, **context: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce", **context)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.evaluate(PAINTED)

    def drawn_after(self) -> float:
        """Milliseconds from when the file was asked for to the first drawing on the screen."""
        return self.page.evaluate(
            "Math.max(...performance.getEntriesByType('paint').map((e) => e.startTime), performance.getEntriesByName('drawn')[0].startTime)"
        )

    def timed(self, script: str) -> float:
        """Milliseconds until what the script does is on the screen."""
        return self.page.evaluate(
            f"(async () => {{ const from = performance.now(); {script}; await {PAINTED}; return performance.now() - from; }})()"
        )

    def step(self, number: int) -> float:
        """Moves the slider, and tells how long that took."""
        return self.timed(f"const s = document.getElementById('slider'); s.value = '{number}'; s.dispatchEvent(new Event('input'))")

    def texts(self, selector: str) -> list[str]:
        return self.page.locator(selector).all_inner_texts()

    def box(self, name: str) -> Any:
        """The box of a value or a group that has exactly this text."""
        return self.page.locator(".box", has=self.page.locator(f"text.label:text-is('{name}'), text.under:text-is('{name}')"))

    def close(self) -> None:
        self.context.close()


if __name__ == "__main__":
    chromium()
