"""The notebook of the docs, from top to bottom in a kernel of its own: each cell shows what it says, and none complains."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import convc

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not importlib.util.find_spec("nbclient"), reason='`make test-browser` installs ".[notebook]", which is not here'),
]
TOUR = Path(convc.__file__).parent / "docs" / "tour.ipynb"
# by what a cell ends with: of what kind it shows, and words or bytes that are in it
SHOWN = {
    "net": ("text/html", "resnet20"),
    "cc.draw(net)": ("image/svg+xml", "<svg"),
    "cc.summary(net)": ("text/html", "CONV3-16"),
    "cc.summary(net).plot()": ("image/png", "iVBOR"),
    "trace": ("text/html", "fuse-conv-bn"),
    "trace.plot()": ("image/png", "iVBOR"),
    "cc.verify(net, better)": ("text/html", "agrees"),
    "planned": ("text/html", "layers split"),
    "planned.plot()": ("image/png", "iVBOR"),
    "profile": ("text/html", "us in"),
    "profile.plot()": ("image/png", "iVBOR"),
    "trainer.history": ("text/html", "after step 60"),
    "trainer.history.plot()": ("image/png", "iVBOR"),
    'cc.draw(cc.deconvnet(trainer.network(), "avg_pool2", 3))': ("image/svg+xml", "<svg"),
}


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Those with code, executed."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(TOUR, as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_every_cell_shows_what_it_says(cells):
    assert [cell.source.splitlines()[-1] for cell in cells] == list(SHOWN)
    for cell, (kind, words) in zip(cells, SHOWN.values(), strict=True):
        (shown,) = [each for each in cell.outputs if each.output_type == "execute_result"]
        assert words in "".join(shown.data[kind]), cell.source
        assert "text/plain" in shown.data


def test_no_cell_complains(cells):
    assert [each.text for cell in cells for each in cell.outputs if each.output_type == "stream"] == []
