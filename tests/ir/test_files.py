"""Files and folders are written whole, or not at all."""

from __future__ import annotations

import pytest

from convc.ir.errors import UsageError
from convc.ir.files import replace_directory


def test_a_disk_that_fills_up_while_an_artifact_is_written(tmp_path):
    def write() -> None:
        with replace_directory(tmp_path / "artifact", lambda path: []) as folder:
            (folder / "model.cir").symlink_to("/dev/full")
            (folder / "model.cir").write_text("graph")

    with pytest.raises(UsageError, match=f"^cannot write '{tmp_path}/artifact': No space left on device$"):
        write()
    assert not list(tmp_path.iterdir())
