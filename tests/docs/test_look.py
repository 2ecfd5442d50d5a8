"""The commands of docs/look.md write what the page says that they do."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convc
from convc.tests.support.looking import figures, pixels_of
from convc.tests.support.shell import convc as run

HERE = Path(convc.__file__).parent
PAGE = (HERE / "docs" / "look.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line) for line in re.findall(r"^\$ convc (.*)$", PAGE, re.MULTILINE)]
QUICK = {"occlusion": ("--stride", "56"), "maximize": ("--steps", "2")}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder that the page speaks of."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "photos").mkdir()
    for name in ("astronaut", "cat"):
        shutil.copy(HERE / "tests" / "data" / f"{name}.jpg", folder / "photos")
    shutil.copy(HERE / "tests" / "data" / "astronaut.jpg", folder)
    (folder / "masks" / "face").mkdir(parents=True)
    mask = np.zeros((512, 512), np.uint8)
    mask[40:200, 160:300] = 255
    Image.fromarray(mask).save(folder / "masks" / "face" / "astronaut.png")
    return folder


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[1])
def test_every_command_writes_its_picture(place, words):
    done = run(*words, *QUICK.get(words[1], ()), cwd=place)
    assert done.code == 0, done.err
    if "-o" in words:
        assert pixels_of(place / words[words.index("-o") + 1]).size
    else:
        assert figures(done)["pictures"] == 2


def test_the_page_shows_every_way():
    from convc.compiler.commands.look import LOOKS

    assert {words[1] for words in COMMANDS} == set(LOOKS)


def test_the_code_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, {})
    assert "max_unpool" in capsys.readouterr().out
    assert (tmp_path / "deconvnet.onnx").stat().st_size
