"""Documents, and an embedder that costs nothing."""

import numpy as np
from openai_server import vector

from vec2slug_lib.embedding.base import slices

TEXTS = [f"text {i} " + "word " * (i % 7) for i in range(23)]
IDS = [f"id-{i}" for i in range(len(TEXTS))]


class Fake:
    """Five texts a batch; remembers what it was asked, and can be made to fail."""

    def __init__(self, width=6, change=lambda number, vectors: vectors):
        self.name, self.dimensions, self.change, self.asked = "fake", width, change, []

    def batches(self, texts):
        return slices([1] * len(texts), 5, 5)

    def embed(self, texts):
        self.asked.append(list(texts))
        vectors = np.array([vector(text, self.dimensions) for text in texts])
        return self.change(len(self.asked), vectors)


class Directions(Fake):
    """Embeds a text as the direction that its first letter, a digit, names."""

    def embed(self, texts):
        return np.eye(self.dimensions, dtype=np.float32)[[int(text[0]) for text in texts]]
