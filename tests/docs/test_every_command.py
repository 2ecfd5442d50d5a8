"""Every command and every program of every page runs, and prints what the page says; those within a line at least exist."""

from __future__ import annotations

import importlib
import re
import shlex

import pytest

from convc.compiler.commands.cli import COMMANDS
from convc.passes.catalog import PASSES
from convc.tests.support.shell import Result
from convc.tests.support.stories import ROOT, blocks, lines_astray, live

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
STORIES = {name: blocks(text) for name, text in PAGES.items() if not name.startswith("docs/python/")}  # whose fences are signatures
GLOBAL = ("-q", "-v", "-h", "--help", "--version")


def with_tier(tier):
    return [name for name, story in STORIES.items() if any(block.runs == tier and not block.title for block in story)]


@pytest.mark.parametrize("name", [name for name in with_tier("quick") if not name.startswith("docs/passes/")])
def test_what_a_page_shows_is_so(name, tmp_path):
    live(PAGES[name], ("quick",), tmp_path)


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_does_what_its_page_shows(name, tmp_path):
    live(PAGES[f"docs/passes/{name}.md"], ("quick",), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", with_tier("slow"))
def test_what_takes_long_is_so_too(name, tmp_path):
    live(PAGES[name], ("quick", "slow"), tmp_path)


@pytest.mark.parametrize("name", PAGES)
def test_no_command_hides_in_a_fence_that_nobody_runs(name):
    fences = re.findall(r"^```(\w*)[^\n]*\n(.*?)^```$", PAGES[name], re.MULTILINE | re.DOTALL)
    hidden = [
        line for kind, text in fences if kind != "console" for line in text.splitlines() if re.match(r"(\$ )?(convc [a-z]|make )", line)
    ]
    assert [line for line in hidden if "[OPTIONS]" not in line] == []


def test_a_fence_that_nobody_would_run_by_mistake_is_refused():
    page = "<!-- runs: slwo -->\n```console\n$ convc zoo\n```\n"
    assert blocks(page.replace("slwo", "slow"))[0].runs == "slow"
    with pytest.raises(ValueError, match="runs: slwo; expected one of quick, slow, torch, nowhere"):
        blocks(page)


def within_lines(text):
    """Commands between backticks of running text."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [words.replace("\n", " ") for words in re.findall(r"`(convc [^`]+)`", prose)]


@pytest.mark.parametrize("name", [name for name, text in PAGES.items() if within_lines(text)])
def test_commands_within_lines_exist_with_these_options(name):
    wrong = [words for words in within_lines(PAGES[name]) if not is_known(shlex.split(words)[1:])]
    assert wrong == []


def is_known(words):
    """Whether there is the command, and each of its options; values stand for themselves or for any."""
    while words and words[0] in GLOBAL:
        words = words[1:]
    if not words or words[0] == "COMMAND":
        return True
    if words[0] not in COMMANDS:
        return False
    command = importlib.import_module(f"convc.compiler.commands.{words[0]}").command
    options = {name for param in command.params for name in (*param.opts, *param.secondary_opts)} | set(GLOBAL)
    given = [word.partition("=")[0] for word in words[1:] if re.match(r"--?[A-Za-z]", word)]
    return all(word in options or (re.match(r"-[A-Za-z]\d?$", word) and word[:2] in options) for word in given)


def test_what_is_shown_is_held_to_what_is_printed():
    done = Result(0, "nodes  176  123\nmacs 1.81G\nend\n", "wrote x, 0.12 s\n")
    assert lines_astray(["nodes 176 123", "wrote x, 3.5 s", "macs 2.0G", "end"], done) == ""
    assert lines_astray(["nodes 176 123", "..."], done) == ""
    assert lines_astray(["nodes 17 123", "..."], done) == "nodes 17 123"
    assert lines_astray(["nodes 176 123", "end", "..."], done) == "end"
    assert lines_astray(["nodes 176 123", "macs 1.81G", "end"], done) == "no more, but 'wrote x, 0.12 s'"
    assert lines_astray(["...", "end", "wrote x, ..."], done) == ""
    assert not is_known(["verify", "lenet5", "--nothing"])
    assert is_known(["-v", "inspect", "MODEL", "-O2", "--diff"])
