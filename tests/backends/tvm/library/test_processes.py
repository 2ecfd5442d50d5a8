"""Several threads that compile at once, and processes forked from one that uses TVM."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import convc as cc
from convc.tests.support.graphs import hold_to_reference, normal_inputs, typed_graph

FORK = """
import os, signal, sys
import numpy as np
import convc as cc
from convc.ir.errors import UsageError

net = cc.parse_graph("graph @g(%x: f32[N,16,64,64]) { %w = param : f32[16,16,3,3] %y = conv2d(%x, %w) return %y }")
x = np.ones((1, 16, 64, 64), np.float32)
before = cc.compile(net, threads=int(sys.argv[1]))
wanted = before(x)
child = os.fork()
if child == 0:
    signal.alarm(60)  # a run that waits for threads that are not there ends so
    status = 0
    for make in (lambda: before, lambda: cc.compile(net, threads=int(sys.argv[1]))):
        try:
            print("right" if np.array_equal(make()(x), wanted) else "wrong", flush=True)
        except UsageError as error:
            print(error, flush=True)
    os._exit(0)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def forked(threads: int) -> list[str]:
    """What the child said of a module made before the fork, and of one made after."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK, str(threads)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_forked_process_runs_on_one_thread():
    assert forked(1) == ["right", "right"]


def test_a_forked_process_is_refused_threads_that_it_lacks():
    refusal = (
        "this process was forked from one that uses TVM, whose 2 threads it lacks; start processes by spawn, or load it with threads=1"
    )
    assert forked(2) == [refusal, refusal]


NET = """graph @g(%x: f32[N,8,6,6]) {{ %w = param : f32[16,8,3,3] %v = param : f32[{classes},16]
    %c = conv2d(%x, %w) %r = relu(%c) %m = global_avg_pool(%r) %f = flatten(%m) %d = dense(%f, %v) %y = softmax(%d) return %y }}"""


def test_networks_compile_in_several_threads_at_once():
    nets = [typed_graph(NET.format(classes=10 + k)) for k in range(4)]
    with ThreadPoolExecutor(4) as pool:
        modules = list(pool.map(cc.compile, nets))
    for net, module in zip(nets, modules, strict=True):
        inputs = normal_inputs(net, 0, N=2)
        (name,) = (node.name for node in net.outputs)
        hold_to_reference(net, {name: np.asarray(module(**inputs))}, inputs)
