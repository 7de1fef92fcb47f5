"""Distinct slugs: against deferred acceptance written out plainly, and in any order of rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vec2slug_lib.inference import unique
from vec2slug_lib.inference.beam_search import Candidate
from vec2slug_lib.inference.unique import Assignment, row_key

SLUGS = [f"slug-{letter}" for letter in "abcdef"]
LISTS = st.lists(st.sampled_from(SLUGS), max_size=5, unique=True)
TABLES = st.lists(LISTS, max_size=12)


def rows_of(table, keys=None):
    keys = list(map(row_key, keys or [str(number).encode() for number in range(len(table))]))
    pairs = zip(keys, table, strict=True)
    return [(key, [Candidate(s, -i) for i, s in enumerate(slugs)]) for key, slugs in pairs]


def names(table, keys=None, **options):
    return list(Assignment(rows_of(table, keys), **options).names(table))


def plain(table, taken):
    """Deferred acceptance, one row at a time, in the order of rows."""
    ranks = [row_key(str(number).encode()) for number in range(len(table))]
    held, waiting, place = {}, list(range(len(table))), [0] * len(table)
    while waiting:
        row = waiting.pop()
        while place[row] < len(table[row]):
            slug = table[row][place[row]]
            other = held.get(slug)
            if slug not in taken and (other is None or ranks[row] < ranks[other]):
                held[slug] = row
                if other is not None:
                    place[other] += 1
                    waiting.append(other)
                break
            place[row] += 1
    chosen = {row: slug for slug, row in held.items()}
    return [chosen.get(row) for row in range(len(table))]


@given(TABLES, st.sets(st.sampled_from(SLUGS)))
def test_equals_deferred_acceptance(table, taken):
    expected = plain(table, taken)
    for row, name in enumerate(names(table, taken=taken)):
        if expected[row] is not None or not table[row]:
            assert name == expected[row]
        else:
            assert name.rpartition("-")[0] == table[row][0]


@given(TABLES, st.sets(st.sampled_from(SLUGS)), st.randoms())
def test_names_are_distinct_and_the_same_in_every_order(table, taken, random):
    given_names = dict(enumerate(names(table, taken=taken)))
    filled = [name for name in given_names.values() if name is not None]
    assert len(set(filled)) == len(filled)
    assert not taken & set(filled)
    order = list(range(len(table)))
    random.shuffle(order)
    keys = [str(row).encode() for row in order]
    shuffled = names([table[row] for row in order], keys, taken=taken)
    assert {row: shuffled[i] for i, row in enumerate(order)} == given_names


@given(TABLES, st.sets(st.sampled_from(SLUGS)))
def test_without_unique_only_taken_slugs_are_avoided(table, taken):
    for slugs, name in zip(table, names(table, taken=taken, unique=False), strict=True):
        free = [slug for slug in slugs if slug not in taken]
        assert name == free[0] if free else name not in taken


def test_rows_of_one_key_are_told_apart():
    table = [["only-one"]] * 40
    found = names(table, [b"same"] * 40)
    assert found[0] == "only-one"
    assert len(set(found)) == 40
    assert found == names(table, [b"same"] * 40)


def test_digits_grow_where_they_would_name_a_slug_that_is_given(monkeypatch):
    monkeypatch.setattr(unique, "DIGITS", 1)
    table = [["a-b"] for _ in range(60)]
    found = names(table)
    assert len(set(found)) == 60
    taken = set(found) - {"a-b"}
    again = names(table, taken=taken)
    assert not taken & set(again)
    assert len(set(again)) == 60


def test_ties_are_counted_where_they_could_change_a_choice():
    rows = [
        (row_key(b"0"), [Candidate("a-b", 0.5), Candidate("c-d", 0.49999)]),  # level
        (row_key(b"1"), [Candidate("e-f", 0.5), Candidate("g-h", 0.4), Candidate("i-j", 0.39999)]),
        (row_key(b"2"), [Candidate("k-l", 0.5)]),
        (row_key(b"3"), []),
    ]
    assert Assignment(rows).ties == 1
    taken = Assignment(rows, taken=["e-f"])
    assert taken.ties == 2  # the second row now chooses between level ones
    assert list(taken.names([[c.slug for c in r] for _, r in rows])) == ["a-b", "g-h", "k-l", None]
