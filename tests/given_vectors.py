"""Vectors of random directions, and an embedder that gives what a function says."""

from __future__ import annotations

import numpy as np


class Fake:
    """An embedder whose vectors a function gives."""

    def __init__(self, embed, key="minilm", dimensions=24):
        self.embed, self.key, self.dimensions = embed, key, dimensions


def vectors(n, width, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)
