"""Networks written in the course's pattern language (compiler/dsl/pattern.py)."""

from __future__ import annotations

from ..compiler.dsl.network import Network, network

__all__ = ["pattern_lenet", "pattern_net"]

pattern_net: Network = network(
    "[(CONV-RELU)*N-POOL?]*M-(FC-RELU)*K,SOFTMAX", image="N,3,32,32", N=2, M=3, K=1, width=32, classes=10, name="pattern_net"
)
pattern_lenet: Network = network(
    "[CONV-POOL-CONV-POOL-CONV-FC]", image="N,1,32,32", kernel=5, pad="valid", width=6, classes=10, name="pattern_lenet"
)
