"""A real Ray cluster of two nodes on this machine, for tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import ray
from ray.cluster_utils import Cluster

from vec2slug_lib.common.parallel import on_loopback

NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}
# Read by every process of Ray: no worker is stopped because other work on this machine takes
# memory, and a lost node is missed after 5 s and not 15.
QUIET = {
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_health_check_period_ms": "1000",
}


@contextmanager
def two_nodes() -> Iterator[Cluster]:
    """A cluster of a head and a worker node of one CPU each; ``cluster.address`` to connect to.

    Ports and folders are its own, so that several can be up at a time. A node is taken away by
    ``cluster.remove_node(node)`` and added by ``cluster.add_node(**NODE)``.
    """
    with (
        tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder,
        mock.patch.dict(os.environ, {**QUIET, "RAY_TMPDIR": folder}),
        on_loopback(),
    ):
        head = {**NODE, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            cluster.add_node(**NODE)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()
