"""The script of bad days: a small part of it here, all of it in `make test-slow`, where it prints its figures."""

from __future__ import annotations

import random
import re
import resource

import pytest

from convc.tests.faults import faults


def test_one_fault_of_each_kind_loses_nothing_and_leaves_nothing(tmp_path):
    commands = ("export",)
    place = faults.made(tmp_path, ("compile", *commands))
    tallies = faults.kills(place, {"export": 1}, random.Random(0))
    # room for onnx itself, whose C++ may crash where it finds none for its schemas, and not for what comes after it
    small, few = faults.Limit(resource.RLIMIT_FSIZE, 64), faults.Limit(resource.RLIMIT_AS, 48 * faults.MIB)
    tallies["disk"] = faults.limits(place, commands, "files", [small], (faults.USAGE, faults.MISSING))
    tallies["memory"] = faults.limits(
        place, commands, "memory", [few], (faults.DONE, faults.USAGE, faults.MISSING, faults.MEMORY, *faults.ENDED_BY_C)
    )
    tallies["readers"] = faults.readers(place, 5)
    tallies["crowd"] = faults.crowd(place, 2)
    assert [wrong for tally in tallies.values() for wrong in tally.wrong] == []
    assert all(tally.tried for tally in tallies.values())
    assert set(tallies["memory"].codes) != {faults.DONE}


def test_a_disk_is_full_at_the_file_that_is_meant(tmp_path):
    place = faults.made(tmp_path, ("draw",))
    before, refused = (place.folder / "figure.svg").read_bytes(), place.streams / "refused"
    code, said = place.run(faults.COMMANDS["draw"].words, faults.Full(1, (place.folder,), refused))
    assert (code, refused.exists()) == (faults.USAGE, True)
    assert "figure.svg': No space left on device" in said
    assert (place.folder / "figure.svg").read_bytes() == before
    refused.unlink()
    code, _ = place.run(faults.COMMANDS["draw"].words, faults.Full(2, (place.folder,), refused))
    assert (code, refused.exists()) == (faults.DONE, False)


def test_what_is_cut_short_is_seen(tmp_path):
    """Of each kind of file that a command makes."""
    place = faults.made(tmp_path, ("draw", "report", "look"))
    assert place.is_whole() == ""
    for name, word in (("look.png", "OSError"), ("report.html", "does not end with </html>"), ("figure.svg", "does not end with </svg>")):
        whole = (place.folder / name).read_bytes()
        (place.folder / name).write_bytes(whole[: len(whole) // 2])
        assert word in place.is_whole()
        (place.folder / name).write_bytes(whole)


def test_a_few_faults_lose_nothing_and_leave_nothing(capsys):
    code = faults.main(
        ["--commands", "compile,export", "--seed", "3", "--kills", "1", "--steps", "0", "--replacements", "30", "--crowd", "2"]
    )
    assert code == 0, capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_hundreds_of_faults_lose_nothing_and_leave_nothing(capsys):
    code = faults.main([])
    out = capsys.readouterr().out
    with capsys.disabled():
        print(f"\n{out}")
    assert code == 0, out
    assert int(re.search(r"(\d+) faults", out)[1]) >= 200


def test_what_is_lost_is_seen(tmp_path):
    place = faults.Place(tmp_path, ("compile",))
    assert place.is_whole() == "the artifact is gone"
    (place.folder / ".art.0").touch()
    (place.temporary / "x").touch()
    assert place.left_over() == [".art.0", "x"]
    tally = faults.Tally()
    tally.held("it", 1, "Traceback", (0,))
    tally.held("it", 0, "Traceback", (0,))
    assert len(tally.wrong) == 2
