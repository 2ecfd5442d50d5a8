"""The page around the data: one file that fetches nothing, and in which names are never markup."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from convc.compiler.report.html import page
from convc.compiler.report.html.report import Report
from convc.tests.support.reports import data_in, with_hostile_names, without_ops
from convc.tests.support.shell import RELU, convc, refused

VENDOR = Path(page.__file__).parent / "vendor"


class Elements(HTMLParser):
    """Every element with its attributes, and the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.scripts[-1] += data


@pytest.fixture(scope="module")
def hostile():
    graph = with_hostile_names()
    return page.html_report(Report(graph, [], graph.nodes[0].name)).decode()


def test_names_are_never_markup(hostile):
    plain = page.html_report(Report(without_ops(), [], "")).decode()
    assert [tag for tag, _ in Elements(hostile).found] == [tag for tag, _ in Elements(plain).found]
    assert "alert(" in hostile
    assert "<img" not in hostile
    assert hostile.isascii() or "\u202e" not in hostile


def test_nothing_is_fetched(hostile):
    elements = Elements(hostile)
    assert not [
        tag for tag, attributes in elements.found if {"src", "href"} & attributes.keys() or tag in ("link", "iframe", "object", "base")
    ]
    assert "sourceMappingURL" not in hostile
    assert not re.search(r"@import|url\(", hostile.partition("<body>")[0])
    (policy,) = [attributes["content"] for _, attributes in elements.found if attributes.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")


def test_only_these_scripts_may_run(hostile):
    elements = Elements(hostile)
    (policy,) = [attributes["content"] for _, attributes in elements.found if attributes.get("http-equiv")]
    ours = [
        text
        for text, (_, attributes) in zip(elements.scripts, [each for each in elements.found if each[0] == "script"], strict=True)
        if "type" not in attributes
    ]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in ours]
    assert re.findall(r"'sha256-([^']+)'", policy) == hashes
    assert len(hashes) == len(page.LIBRARIES) + 1


@pytest.mark.parametrize("name", page.LIBRARIES)
def test_libraries_are_those_that_the_page_beside_them_lists(name):
    listed = {
        row[0]: row
        for row in (
            re.split(r"\s*\|\s*", line.strip("| "))
            for line in (VENDOR / "README.md").read_text().splitlines()
            if ".js" in line and "|" in line
        )
    }
    assert listed[name][-1] == hashlib.sha256((VENDOR / name).read_bytes()).hexdigest()
    licence = re.search(r"\S+\.LICENSE", listed[name][3])
    assert licence
    assert (VENDOR / licence.group()).stat().st_size > 200


def test_what_lies_in_the_folders_is_what_the_page_is_made_of():
    names = {path.name for folder in ("scripts", "styles") for path in (Path(page.__file__).parent / folder).iterdir()}
    assert names == {*page.SCRIPTS, *page.STYLES}


@pytest.mark.parametrize("name", [*page.SCRIPTS, *page.STYLES])
def test_a_script_or_style_tells_one_story(name):
    folder = "scripts" if name.endswith(".js") else "styles"
    text = (Path(page.__file__).parent / folder / name).read_text()
    assert text.count("\n") <= 400
    assert text.startswith(("// ", "/* "))


class TestInspect:
    def test_one_file_with_all_that_inspect_says(self, tmp_path):
        done = convc("inspect", "lenet5", "-O2", "-v", "--html", "report.html", cwd=tmp_path)
        assert done.code == 0
        assert "wrote report.html" in done.err
        data = data_in((tmp_path / "report.html").read_bytes())
        assert (data["title"], data["subject"]) == ("lenet5", "inspect -O2")
        said = [line.split(":")[0] for line in done.out.splitlines() if re.match(r"[a-z-]+: \d+ rewrites", line)]
        assert said == [step["pass"] for step in data["steps"]]

    @pytest.mark.parametrize(
        ("path", "said"), [("none/report.html", "there is no folder 'none'"), ("report.txt", "--html 'report.txt' is none of .html, .htm")]
    )
    def test_a_path_that_cannot_be_is_refused_before_anything_is_read(self, tmp_path, path, said):
        refused(convc("inspect", "none.cir", "--html", path, cwd=tmp_path), 2, said)
        assert list(tmp_path.iterdir()) == []

    def test_what_was_there_stays_where_the_network_is_refused(self, tmp_path):
        (tmp_path / "report.html").write_text("mine")
        (tmp_path / "net.cir").write_text(RELU.replace("relu", "rely"))
        refused(convc("inspect", "net.cir", "--html", "report.html", cwd=tmp_path), 3, "rely")
        assert (tmp_path / "report.html").read_text() == "mine"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["net.cir", "report.html"]

    def test_a_text_without_types_and_an_empty_one(self, tmp_path):
        (tmp_path / "net.cir").write_text(RELU)
        (tmp_path / "empty.cir").write_text("graph @e(%x: f32[N,4]) {\n  return %x\n}\n")
        for name in ("net", "empty"):
            assert convc("inspect", f"{name}.cir", "--html", f"{name}.html", cwd=tmp_path).code == 0
            assert data_in((tmp_path / f"{name}.html").read_bytes())["steps"]
