"""The cache of compiled kernels as a user meets it."""

from __future__ import annotations

import json

import pytest

from convc.tests.support.shell import convc

RELU = "graph @g(%x: f32[4]) {\n  %y = relu(%x)\n  %z = tanh(%y)\n  return %z\n}\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("CONVC_CACHE", str(tmp_path / "kernels"))
    return tmp_path / "kernels"


def compiled(folder, *words):
    """The exit code and what was said."""
    (folder / "net.cir").write_text(RELU)
    done = convc("compile", folder / "net.cir", "-o", folder / "net", "--no-check", *words)
    return done.code, done.err


def shown():
    return json.loads(convc("doctor", "--json").out)["found"]["kernel cache"]


def test_compile_says_what_it_found_and_doctor_where_it_is(tmp_path, place):
    assert (
        shown()
        == f"{place}: 0 entries, 0.0 of 2048 MiB; delete kernel_*, stock_*, emulated_*, library_*, cubin_*, network_* and packed_* there to empty it"
    )
    assert not place.exists()
    assert "0 of 1 kernels from the cache" in compiled(tmp_path, "--no-cache")[1]
    assert not place.exists()
    assert "0 of 1 kernels from the cache" in compiled(tmp_path, "--jobs", "2")[1]
    assert "1 of 1 kernels from the cache" in compiled(tmp_path)[1]
    assert shown().startswith(f"{place}: 1 entries, ")


def test_a_directory_that_is_not_safe_is_said_and_not_used(tmp_path, place):
    place.mkdir()
    place.chmod(0o777)
    code, said = compiled(tmp_path)
    assert code == 0
    assert f"kernels are not kept: others can write to {place}" in said
    assert shown().startswith(f"not used: others can write to {place}")
    for words in (("run",), ("verify", "-b", "tvm"), ("bench", "-b", "tvm", "--runs", "1")):
        assert f"kernels are not kept: others can write to {place}" in convc(*words, tmp_path / "net.cir").err
    assert "not kept" not in convc("run", tmp_path / "net.cir", "-b", "reference").err
    assert list(place.iterdir()) == []


def test_it_can_be_off(tmp_path, monkeypatch):
    monkeypatch.setenv("CONVC_CACHE", "off")
    code, said = compiled(tmp_path)
    assert code == 0
    assert "not kept" not in said
    assert shown() == "off"


@pytest.mark.parametrize("jobs", ["0", "100000", "many"])
def test_an_absurd_number_of_jobs_is_a_usage_error(tmp_path, jobs):
    code, said = compiled(tmp_path, "--jobs", jobs)
    assert code == 2
    assert "Invalid value for '--jobs'" in said


def test_a_size_that_makes_no_sense_is_a_usage_error(tmp_path, monkeypatch):
    monkeypatch.setenv("CONVC_CACHE_MIB", "lots")
    code, said = compiled(tmp_path)
    assert code == 2
    assert said.splitlines()[-1].startswith("convc: CONVC_CACHE_MIB is 'lots'; it is the most that")
    assert not (tmp_path / "net").exists()
