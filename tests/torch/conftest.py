"""What needs PyTorch, which is in an environment of its own: `make test-torch`. Without it nothing here is collected."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator

import pytest

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["*.py"]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Dynamo forgets what it has compiled, and says what it has to say to those who write backends to nobody."""
    import torch

    torch._dynamo.reset()
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="torch")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield
