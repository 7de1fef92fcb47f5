"""The index of pages with known slugs, worked by hand."""

import numpy as np
import pandas as pd
import pytest

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.neighbours import similarity_weights
from vec2slug_lib.data.dataset import Dataset
from vec2slug_lib.inference.index import SHARPNESS, Index


def directions(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_words_of_near_slugs_are_likely_in_proportion_to_nearness():
    index = Index(directions(0, 60, 180), ["ant-hill", "ant-farm-toys", "far-side"])
    (found,) = index.word_probabilities(directions(0))
    near, far = 1.0, 0.5**SHARPNESS  # cosines of 0 and 60 degrees
    assert found["hill"] == pytest.approx(near / (near + far))
    assert found["toys"] == pytest.approx(far / (near + far), rel=1e-4)
    assert found["ant"] == pytest.approx(1.0)
    assert found["side"] == 0.0


def test_pages_on_the_other_side_have_equal_say():
    assert similarity_weights(np.array([-0.5, -0.9], np.float32), SHARPNESS) == [0.5, 0.5]


def test_an_index_of_a_data_set_has_its_slugs():
    pages = Dataset(pd.DataFrame({"slug": ["ant-hill", "bee-hive"]}), directions(0, 90))
    (found,) = Index(pages.vectors, pages.slugs).word_probabilities(directions(90))
    assert found == pytest.approx({"bee": 1.0, "hive": 1.0, "ant": 0.0, "hill": 0.0})


def test_queries_of_another_width_are_refused():
    with pytest.raises(Vec2SlugError, match=r"expected vectors \[T, D\]"):
        Index(directions(0), ["ant"]).word_probabilities(np.ones((1, 3), np.float32))
