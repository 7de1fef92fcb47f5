from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vec2slug_lib.common.errors import Vec2SlugError
from vec2slug_lib.common.vocabulary import BOS, EOS, HYPHEN, PAD, SPECIALS, UNK
from vec2slug_lib.model.tokenizer import (
    coverage,
    decode,
    encode,
    load_tokenizer,
    save_tokenizer,
    token_strings,
    train_bpe,
)

SLUGS = [
    "facts-about-blood-donation",
    "blood-donation-facts",
    "the-facts-about-blood",
    "donation-of-blood-in-2019",
    "about-the-blood-bank",
]
TOKENIZER = train_bpe(SLUGS, vocab_size=60)
kebab = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+)*", fullmatch=True)


def test_specials_come_first_in_the_study_order():
    assert token_strings(TOKENIZER)[:5] == ["<pad>", "<bos>", "<eos>", "<unk>", "-"]
    assert (PAD, BOS, EOS, UNK, HYPHEN) == (0, 1, 2, 3, 4)


@given(kebab)
@settings(deadline=None)
def test_every_kebab_slug_survives_a_round_trip(slug):
    (ids,) = encode(TOKENIZER, [slug])
    assert decode(TOKENIZER, ids) == slug
    assert UNK not in ids
    assert ids.count(HYPHEN) == slug.count("-")


def test_no_merge_crosses_a_hyphen():
    strings = token_strings(TOKENIZER)
    assert [token for token in strings if "-" in token] == ["-"]
    assert len(strings) == 60 == len(set(strings))


def test_frequent_words_become_one_token():
    (ids,) = encode(TOKENIZER, ["blood-facts"])
    assert [TOKENIZER.id_to_token(i) for i in ids] == ["blood", "-", "facts"]


def test_merges_follow_pair_counts():
    # Words: "aab" three times, "ab" once. Pairs: ab 4, aa 3. First merge "ab"; then "a ab" with
    # count 3 gives "aab". 41 specials and characters + 2 merges use the vocabulary up.
    tokenizer = train_bpe(["aab-aab", "aab-ab"], vocab_size=43)
    assert token_strings(tokenizer)[41:] == ["ab", "aab"]


def test_merged_hyphens_begin_words_and_only_words():
    tokenizer = train_bpe(SLUGS, vocab_size=80, merged=True)
    (ids,) = encode(tokenizer, ["blood-facts"])
    assert [tokenizer.id_to_token(i) for i in ids] == ["-blood", "-facts"]
    strings = token_strings(tokenizer)
    assert tuple(strings[:5]) == SPECIALS
    assert all("-" not in token[1:] for token in strings)


@given(kebab)
@settings(deadline=None)
def test_every_kebab_slug_survives_merged_hyphens(slug):
    tokenizer = train_bpe(SLUGS, vocab_size=80, merged=True)
    (ids,) = encode(tokenizer, [slug])
    assert decode(tokenizer, ids) == slug
    assert sum(tokenizer.id_to_token(i)[0] == "-" for i in ids) == slug.count("-") + 1


@given(st.permutations(SLUGS))
@settings(max_examples=20, deadline=None)
def test_training_does_not_depend_on_the_order_of_slugs(slugs):
    assert train_bpe(slugs, vocab_size=60).to_str() == TOKENIZER.to_str()


def test_decode_leaves_frame_tokens_out_and_refuses_unknown_ids():
    (ids,) = encode(TOKENIZER, ["blood-bank"])
    framed = [BOS, *ids, EOS, PAD]
    assert decode(TOKENIZER, framed) == "blood-bank"
    with pytest.raises(Vec2SlugError, match="below 60, got 60"):
        decode(TOKENIZER, [60])


@pytest.mark.parametrize("text", ["Blood", "über-alles", "two words"])
def test_encode_refuses_what_is_no_slug(text):
    with pytest.raises(Vec2SlugError, match="expected a slug"):
        encode(TOKENIZER, ["fine", text])


def test_a_vocabulary_too_small_for_the_alphabet_is_refused():
    with pytest.raises(Vec2SlugError, match=r"41 tokens or more.*got 40"):
        train_bpe(SLUGS, vocab_size=40)


def test_coverage_counts_the_closing_eos():
    # Cap 4 holds at most 3 content tokens and <eos>: lengths 2 and 3 fit, 4 and 9 do not.
    assert coverage([2, 3, 4, 9], 4) == 0.5


def test_save_and_load(tmp_path):
    path = tmp_path / "tokenizer.json"
    save_tokenizer(TOKENIZER, path)
    assert load_tokenizer(path).to_str() == TOKENIZER.to_str()


def test_load_says_what_is_wrong(tmp_path):
    path = tmp_path / "tokenizer.json"
    with pytest.raises(Vec2SlugError, match="found none"):
        load_tokenizer(path)
    save_tokenizer(TOKENIZER, path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(Vec2SlugError, match="expected tokenizers JSON"):
        load_tokenizer(path)
    path.write_text(TOKENIZER.to_str().replace("<bos>", "<s>"))
    with pytest.raises(Vec2SlugError, match=r"first tokens.*'<s>'"):
        load_tokenizer(path)
