"""The report as one file of HTML: styles, scripts and data stand in it, and it is forbidden to fetch anything."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import escape
from pathlib import Path
from typing import Any

from .report import Report, report_data

__all__ = ["LIBRARIES", "html_report"]

HERE = Path(__file__).parent
# In the order in which they stand in the page. vendor/README.md says where the libraries come from; a test holds them to their hashes.
LIBRARIES = ("d3.min.js", "dagre.min.js")
SCRIPTS = (
    "data.js", "words.js", "drawing.js", "layout.js", "canvas.js", "graph.js", "passes.js", "panel.js", "search.js",
    "charts.js", "memory.js", "table.js", "keys.js", "start.js",
)  # fmt: skip
STYLES = ("page.css", "graph.css", "views.css", "print.css")

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
{body}
<script type="application/json" id="report">{data}</script>
{scripts}
</body>
</html>
"""


def html_report(report: Report) -> bytes:
    """The whole file. What it holds of names and sources is data, never markup."""
    data = report_data(report)
    scripts = [_script(_without_map(_read("vendor", name))) for name in LIBRARIES]
    scripts.append(_script('(() => {\n"use strict";\n' + "\n".join(_read("scripts", name) for name in SCRIPTS) + "})();\n"))
    page = PAGE.format(
        hashes=" ".join(f"'sha256-{_hash(script)}'" for script in scripts),
        title=escape(f"{data['title']} \N{MIDDLE DOT} convc"),
        style="\n".join(_read("styles", name) for name in STYLES),
        body=_read("", "body.html"),
        data=json_in_markup(data),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )
    return page.encode()


def json_in_markup(data: Any) -> str:
    """JSON in ASCII that no browser takes for the end of its element, or for markup."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _read(folder: str, name: str) -> str:
    return (HERE / folder / name).read_text(encoding="utf-8")


def _without_map(script: str) -> str:
    """Without the name of a file for debuggers, which is not there."""
    return re.sub(r"^//# sourceMappingURL=.*$", "", script, flags=re.MULTILINE)


def _script(text: str) -> str:
    return f"\n{text}"


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
