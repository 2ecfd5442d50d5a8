"""What pages show of PyTorch runs as it stands there."""

from __future__ import annotations

from convc.tests.support.stories import ROOT, live


def test_the_recipe_runs(tmp_path):
    live((ROOT / "docs" / "recipes" / "pytorch.md").read_text(encoding="utf-8"), ("torch",), tmp_path)
    assert (tmp_path / "resnet18.onnx").is_file()
