"""What most commands import, for processes that are forked from one that has it. Not onnxruntime, which starts a thread."""

from __future__ import annotations

import gc
import importlib
import os

from convc.compiler.commands.cli import COMMANDS
from convc.tests.support.shell import TVM_SETTINGS

os.environ |= TVM_SETTINGS
for name in ("tvm", "tvm.relax", "tvm.topi", "onnx", "rich.table", *(f"convc.compiler.commands.{command}" for command in COMMANDS)):
    importlib.import_module(name)
gc.freeze()  # a collection in a fork would copy all of it
