"""What people see: on pseudo-terminals of 80 and 200 columns, with and without colour, and in files."""

from __future__ import annotations

import pytest

from convc.compiler.commands.terminal import cells_of, table_lines, wrapped
from convc.tests.support.on_terminal import COLOUR, on_terminal
from convc.tests.support.shell import convc

LOOKS = [("summary", "alexnet"), ("summary", "alexnet", "--receptive-field"), ("inspect", "resnet18"), ("models",)]
NO_COLOUR = [{"TERM": "dumb"}, {"NO_COLOR": "1"}]


def shown(*words, width, **environment):
    """The lines, without colours."""
    done = on_terminal(*words, width=width, **environment)
    assert done.code == 0, done.out
    return COLOUR.sub("", done.out).splitlines()


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("words", LOOKS, ids=" ".join)
def test_no_line_is_longer_than_the_terminal_is_wide(words, width):
    lines = shown(*words, width=width)
    assert max(map(cells_of, lines)) <= width
    assert max(map(cells_of, lines)) > width * 0.7 or width == 200  # nor is room left where it is wanted


@pytest.mark.parametrize("words", LOOKS, ids=" ".join)
def test_no_word_is_lost_where_lines_are_broken(words):
    """Nor one of the figures, though the arithmetic of `summary` is."""
    narrow, wide = (" ".join(shown(*words, width=width)) for width in (80, 200))
    if words[0] == "inspect":
        assert {w for w in narrow.split() if "ms" not in w} >= {w for w in wide.split() if w.startswith("%")}
    for word in ("conv5", "[13x13x256]", "43.3K", "TOTAL") if words[0] == "summary" else ():
        assert word in narrow
        assert word in wide


def test_summary_shows_the_arithmetic_where_there_is_room():
    assert "CONV3-384:" in shown("summary", "alexnet", width=200)[8]
    assert "params: (3*3*384)*384 = 1,327,104" in shown("summary", "alexnet", width=200)[8]
    narrow = shown("summary", "alexnet", width=80)
    assert narrow[0].split() == ["layer", "output", "memory", "params", "MACs", "name"]
    assert next(line for line in narrow if line.endswith(" conv4")).split() == [
        "CONV3-384",
        "[13x13x384]",
        "64.9K",
        "1,327,104",
        "224M",
        "conv4",
    ]


def test_colours_are_for_terminals_that_show_them(tmp_path):
    words = ("inspect", "lenet5", "-p", "infer-shapes,canonicalize,eliminate-dead", "-v", "--diff")
    assert COLOUR.search(on_terminal("inspect", "resnet18", width=80).out)
    for environment in NO_COLOUR:
        assert "\x1b" not in on_terminal("inspect", "resnet18", "--diff", width=80, **environment).out
    assert "\x1b[31m" in on_terminal("inspect", "resnet18", "--diff", width=80).out
    assert "\x1b" not in convc("inspect", "resnet18", "--diff").out
    assert on_terminal(*words, width=80).code == 0
    assert "\x1b" in on_terminal("inspect", "resnet18", width=80, NO_COLOR="").out  # no-color.org: when not empty


def test_files_and_pipes_get_whole_lines(tmp_path):
    piped = convc("inspect", "resnet18").out
    assert any(len(line) > 120 for line in piped.splitlines())
    assert on_terminal("summary", "alexnet", width=80, out=tmp_path / "table").code == 0
    assert "params: (3*3*384)*384 = 1,327,104" in (tmp_path / "table").read_text()


def test_errors_break_between_words():
    done = on_terminal("summary", "resnet18", "--set", "clases=7", width=60)
    lines = done.out.splitlines()
    assert done.code == 2
    assert len(lines) > 1
    assert max(map(len, lines)) <= 60
    assert " ".join(line.strip() for line in lines) in convc("summary", "resnet18", "--set", "clases=7").err


@pytest.mark.parametrize("environment", [{"COLUMNS": "100"}, {"COLUMNS": "x"}, {"COLUMNS": "0"}, {"COLUMNS": "9" * 40}], ids=str)
def test_columns_goes_before_the_terminal_if_it_is_a_number(environment):
    longest = max(map(len, shown("inspect", "resnet18", width=80, **environment)))
    assert longest <= 100 if environment["COLUMNS"] == "100" else longest <= 80


class TestInspect:
    def test_it_says_what_changed(self):
        lines = convc("inspect", "resnet18").out.splitlines()
        assert [line.partition(":")[0] for line in lines if not line.startswith(" ")] == [
            "fuse-conv-bn",
            "1 of 20 passes changed it; -v shows the others too",
            "declined, for reasons that -v gives",
            "in all",
        ]
        assert "    at %bn1, %conv2_1.bn1, %conv2_1.bn2, %conv2_2.bn1 and 16 more" in lines
        assert "MACs" not in lines[0]
        assert "nodes 173 -> 93  params 11,699,112 -> 11,684,712  bytes 112 MiB -> 92.5 MiB" in lines[-1]

    @pytest.mark.parametrize("words", [("-v", "inspect"), ("inspect", "-v")], ids=" ".join)
    def test_more_is_said_with_v_wherever_it_stands(self, words):
        out = convc(*words, "resnet18").out
        assert "infer-shapes: 0 rewrites" in out
        assert "%conv5_2.bn2" in out
        assert "-v shows" not in out

    def test_a_network_that_nothing_changes(self):
        assert (
            convc("inspect", "mlp", "-p", "infer-shapes,fold-pad").out
            == "0 of 2 passes changed it; -v shows the others too: infer-shapes, fold-pad\n"
        )


def test_q_may_stand_behind_the_command(tmp_path):
    for words in (("-q", "export"), ("export", "-q")):
        assert convc(*words, "mlp", "-o", tmp_path / "net.onnx").err == ""


class TestTables:
    def test_the_widest_column_gives_way_and_breaks_between_words(self):
        assert table_lines([["a", "one two three four"], ["b", "five"]], 12) == [["a  one two", "   three", "   four"], ["b  five"]]

    def test_words_are_broken_at_seams_and_only_if_they_must(self):
        assert table_lines([["block.first_name", "7"]], 13) == [["block.      7", "first_name"]]
        assert table_lines([["x" * 20, "7"]], 13) == [["x" * 10 + "  7", "x" * 10]]

    def test_letters_of_two_columns(self):
        assert wrapped("\u5377\u7a4d \u5c64", 5) == ["\u5377\u7a4d", "  \u5c64"]
        assert all(cells_of(line) <= 11 for row in table_lines([["\u5377\u7a4d\u5c64\u5377\u7a4d\u5c64", "7"]], 11) for line in row)

    def test_a_long_word_stays_whole_outside_of_tables(self):
        assert wrapped("to /a/long/path/that/is/copied now", 10) == ["to", "    /a/long/path/that/is/copied", "    now"]
