"""What README shows of PyTorch runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import convc

README = (Path(convc.__file__).parent / "README.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path, monkeypatch):
    (example,) = re.findall(r"## From PyTorch.*?```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    seen = {}
    exec(example.replace("224", "64"), seen)
    assert seen["y"].shape == (8, 1000)
    assert (tmp_path / "resnet18.onnx").is_file()
