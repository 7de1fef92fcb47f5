"""A model of words in texts, made by hand."""

from __future__ import annotations

import numpy as np

from vec2slug_lib.inference.text_model import FEATURES, TextModel, Trees


def tiny_text_model(size, **changed):
    """Words with a capital, then long ones, are likely in the slug; for ``size`` tokens."""
    inside, letters = FEATURES.index("capitals"), FEATURES.index("letters")
    trees = Trees(
        feature=np.array([[inside, letters, letters]]),
        threshold=np.array([[0.5, 3.5, 3.5]]),
        value=np.array([[-3.0, -1.0, 1.0, 2.0]]),
        base=0.0,
    )
    settings = {
        "frequencies": "!" * size,
        "elsewhere": 0.3,
        "bonus": 2.0,
        "runs": 8,
        "run_gains": (0.1, -0.05, 0.02, 0.03),
        "score_fit": (0.9, -0.05),
        "rerank_fit": (0.7, 0.3, -0.2),
    }
    return TextModel(trees, **(settings | changed))
