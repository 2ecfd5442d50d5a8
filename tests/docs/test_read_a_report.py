"""The commands of docs/report.md write what the page says that they do."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import convc
from convc.tests.support.reports import data_in
from convc.tests.support.shell import convc as run

PAGE = (Path(convc.__file__).parent / "docs" / "report.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line) for line in re.findall(r"^\$ convc (.*)$", PAGE, re.MULTILINE)]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """What all commands wrote, one after the other, by the name of the file."""
    folder = tmp_path_factory.mktemp("reports")
    for words in COMMANDS:
        done = run(*words, cwd=folder)
        assert done.code == 0, f"convc {shlex.join(words)}: {done.err}"
    return {path.stem: data_in(path.read_bytes()) for path in folder.glob("*.html")}


def test_every_command_of_the_table_wrote_one(reports):
    listed = {row.split("`")[1].split()[0] for row in PAGE.splitlines() if row.startswith("| `")}
    assert set(reports) == listed == {words[0] for words in COMMANDS} - {"export"}


def test_what_the_page_says_of_resnet50_is_so(reports):
    data = reports["inspect"]
    (hoist,) = [step for step in data["steps"] if step["pass"] == "hoist-stride"]
    before = next(step for step in reversed(data["steps"][: data["steps"].index(hoist)]) if "totals" in step)["totals"]["macs"]
    assert f"\N{MINUS SIGN}{round((before - hoist['totals']['macs']) / 1e6)}M MACs" in PAGE
    assert len(hoist["rewrites"]) == 3


def test_keys_are_those_of_the_page():
    scripts = (Path(convc.__file__).parent / "compiler" / "report" / "html" / "scripts" / "keys.js").read_text()
    table = scripts.partition("const KEYS = [")[2].partition("];")[0]
    keys = set(re.findall(r'^\s*\["(.)",', table, re.MULTILINE))
    assert len(keys) > 10
    said = set(re.findall(r"`(.)`", PAGE.partition("## Keys")[2]))
    assert said <= keys
    assert keys - said <= {"+", "-"}
