import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.vectors import check_vectors, dequantise, quantise, vector_key

finite = st.floats(-1e3, 1e3, width=32)


@given(arrays(np.float32, (5, 7), elements=finite))
def test_checked_vectors_have_unit_norm_and_direction(raw):
    raw[:, 0] += np.where(np.abs(raw).max(axis=1) < 1e-3, 1, 0)  # no zero rows
    unit = check_vectors(raw, 7)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-5)
    norms = np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(unit * norms, raw, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((2, 3)), r"\[N, 4\], got an array of shape \[2, 3\]"),
        (np.ones(4), r"got an array of shape \[4\]"),
        (np.ones((0, 4)), "at least one row, got none"),
        (np.array([[1, 1, 1, 1], [0, 0, 0, 0]]), "row 1 is zero"),
        (np.array([[1, 1, np.nan, 1]]), "row 0 is not finite"),
        (np.array([[1, 1, np.inf, 1]]), "row 0 is not finite"),
        (np.array([["a", "b", "c", "d"]]), "of numbers"),
    ],
)
def test_bad_vectors_are_named(vectors, message):
    with pytest.raises(Vec2SlugError, match=message):
        check_vectors(vectors, 4)


def test_very_small_and_very_large_rows_keep_their_direction():
    unit = check_vectors(np.array([[1e-30, 0.0], [3e30, 4e30]], dtype=np.float32))
    np.testing.assert_allclose(unit, [[1, 0], [0.6, 0.8]], rtol=1e-6)


def test_quantise_by_hand():
    # 0.6 and 0.8: the larger is 127, 0.6 * 127 / 0.8 = 95.25 rounds to 95; the norm of (95, 127)
    # is sqrt(25154) = 158.6.
    codes, scales = quantise(np.array([[0.6, -0.8]], np.float32))
    assert codes.tolist() == [[95, -127]]
    assert scales[0] == pytest.approx(1 / 25154**0.5)


@given(st.integers(0, 2**32 - 1))
def test_int8_stays_within_a_degree(seed):
    unit = check_vectors(np.random.default_rng(seed).normal(size=(20, 384)))
    back = dequantise(*quantise(unit))
    np.testing.assert_allclose(np.linalg.norm(back, axis=1), 1, atol=1e-5)
    assert (np.einsum("nd,nd->n", unit, back) > np.cos(np.radians(1))).all()


@given(arrays(np.float32, 7, elements=st.floats(-1e3, 1e3, width=32)))
def test_the_key_of_a_vector_is_the_same_in_every_storage(vector):
    key = vector_key(vector)
    for kind in (np.float64, ">f4", ">f8", np.longdouble):
        assert vector_key(vector.astype(kind)) == key
    assert vector_key(np.asfortranarray(np.stack([vector, -vector]))[0]) == key
    assert vector_key(vector * np.float32(2)) == key
    if vector.any():
        assert vector_key(-vector) != key


def test_keys_of_numbers_beyond_float32():
    assert vector_key(np.array([3e300, 4e300])) == vector_key(np.array([3.0, 4.0]))
    assert vector_key(np.array([3e-300, 4e-300])) == vector_key(np.array([3.0, 4.0]))
