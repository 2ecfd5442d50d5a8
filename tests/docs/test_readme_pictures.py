"""What README says of figures and of what a unit sees is so, by the commands that it shows."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import convc
from convc.tests.support.shell import convc as run

README = (Path(convc.__file__).parent / "README.md").read_text(encoding="utf-8")


def words_of(command: str) -> list[str]:
    (line,) = re.findall(rf"`convc ({command} [^`]*)`", README)
    return shlex.split(line)


def test_the_receptive_field_of_vgg16():
    said = re.search(r"(\d+)x\1 pixels in (\w+), (\d+) further with each unit,\s+the first from (-\d+)", README)
    assert said is not None
    layers = json.loads(run(*words_of("summary vgg16"), "--json").out)["layers"]
    seen = next(layer["receptive_field"]["image"] for layer in layers if layer["name"] == said[2])
    assert seen == {"size": [int(said[1])] * 2, "stride": [int(said[3])] * 2, "offset": [int(said[4])] * 2}


def test_the_figure_of_resnet50(tmp_path):
    words = words_of("draw resnet50")
    assert run(*words, cwd=tmp_path).code == 0
    assert (tmp_path / words[-1]).read_text(encoding="utf-8").count('data-count="5"') == 1
