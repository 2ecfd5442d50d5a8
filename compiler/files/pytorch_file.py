"""PyTorch's own files, through PyTorch's own loader of plain tensors. Nothing here unpickles: `pickle` lends its error alone."""

from __future__ import annotations

import importlib
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ...ir.errors import BackendMissing, InvalidInput
from ...ir.legible import legible
from ...ir.types import Array

__all__ = ["PYTORCH_SUFFIXES", "load_state"]

PYTORCH_SUFFIXES = (".pt", ".pth")
WRAPPERS = ("state_dict", "model_state_dict", "model")  # what training scripts call the weights in a larger checkpoint
SAFE = (2, 6)  # before it, a file could run code even so (CVE-2025-32434)
WAY_OUT = 'or save the weights where PyTorch is: safetensors.torch.save_file(model.state_dict(), "weights.safetensors")'


def load_state(path: Path) -> dict[str, Array]:
    """The tensors of a state dict, or of one in a training checkpoint.

    Raises: BackendMissing without PyTorch 2.6 or newer; InvalidInput for a file that holds more than tensors.
    """
    torch = _torch(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old files, which it reads all the same
            state: Any = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:  # its text tells how to run the file's code
        raise InvalidInput(
            f"'{path}' asks for Python objects beside tensors, or is cut short; nothing in it was run; {WAY_OUT[3:]}"
        ) from error
    except Exception as error:  # a damaged archive, a compiled module: each has its own class
        raise InvalidInput(f"'{path}' is damaged or no state dict ({type(error).__name__}); {WAY_OUT[3:]}") from error
    tensors = _named(state)
    for wrapper in WRAPPERS:
        tensors = _named(tensors.get(wrapper)) or tensors
    if not tensors:
        raise InvalidInput(f"'{path}' holds a {type(state).__name__}, expected tensors by name; {WAY_OUT[3:]}")
    return {str(name): _array(path, name, tensor, torch) for name, tensor in tensors.items()}


def _named(value: object) -> dict[Any, Any]:
    return dict(cast("Mapping[Any, Any]", value)) if isinstance(value, Mapping) else {}


def _torch(path: Path) -> Any:
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError as error:
        raise BackendMissing(f"'{path}' needs PyTorch, which cannot be imported here: `pip install torch`, {WAY_OUT}") from error
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < SAFE:
        raise BackendMissing(
            f"'{path}' would be read by PyTorch {torch.__version__}, in which a file can run code (CVE-2025-32434): "
            f"`pip install 'torch>=2.6'`, {WAY_OUT}"
        )
    return torch


def _array(path: Path, name: object, tensor: Any, torch: Any) -> Array:
    if not isinstance(tensor, torch.Tensor):
        raise InvalidInput(f"'{path}': {legible(name)} is a {type(tensor).__name__}, expected a tensor; {WAY_OUT[3:]}")
    try:
        return tensor.detach().numpy()
    except (RuntimeError, TypeError) as error:  # bfloat16, sparse, quantized
        kind = f"{tensor.dtype}, {tensor.layout}".replace("torch.", "")
        raise InvalidInput(f"'{path}': {legible(name)} is {kind}, which NumPy does not have; save it dense as float32") from error
