"""`make site` installs what a site needs; who builds it without is told what is missing."""

from __future__ import annotations

import pytest

from convc.docs.site import build


def test_what_is_missing_is_one_sentence(monkeypatch):
    monkeypatch.setattr(build, "NEEDED", ("json", "no_such_builder"))
    monkeypatch.setattr("sys.argv", ["build.py"])
    with pytest.raises(SystemExit, match=r"^the site is built with no_such_builder, not installed here: `make site` does it all"):
        build.main()
