"""A real cluster with a real mesh: the one that KUBECONFIG names, and no other."""

from __future__ import annotations

import pytest

from tests.cluster.real import Cluster, changes_the_mesh, connect


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    return connect()


@pytest.fixture(scope="session")
def mesh(cluster: Cluster) -> Cluster:
    """One whose mesh configuration, Telemetries of istio-system and gateway the tests may change."""
    changes_the_mesh()
    return cluster
