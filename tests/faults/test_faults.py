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
    tallies = faults.kills(place, commands, 1, random.Random(0))
    small, few = faults.Limit(resource.RLIMIT_FSIZE, 64), faults.Limit(resource.RLIMIT_AS, 40 * faults.MIB)
    tallies["disk"] = faults.limits(place, commands, "files", [small], (faults.USAGE, faults.MISSING))
    tallies["memory"] = faults.limits(
        place, commands, "memory", [few], (faults.DONE, faults.USAGE, faults.MISSING, faults.MEMORY, *faults.ENDED_BY_C)
    )
    tallies["readers"] = faults.readers(place, 5)
    tallies["crowd"] = faults.crowd(place, 2)
    assert [wrong for tally in tallies.values() for wrong in tally.wrong] == []
    assert all(tally.tried for tally in tallies.values())
    assert set(tallies["memory"].codes) != {faults.DONE}


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
    place = faults.Place(tmp_path)
    assert place.is_whole() == "the artifact is gone"
    (place.folder / ".art.0").touch()
    (place.temporary / "x").touch()
    assert place.left_over() == [".art.0", "x"]
    tally = faults.Tally()
    tally.held("it", 1, "Traceback", (0,))
    tally.held("it", 0, "Traceback", (0,))
    assert len(tally.wrong) == 2
