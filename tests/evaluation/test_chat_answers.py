"""Answers of chat models as they come: phrases, quotes, thoughts, parts."""

import pytest

from vec2slug_lib.common.slugs import is_valid
from vec2slug_lib.evaluation.chat_answers import answer_text, find_slug

THINKS = "The user wants a slug. Maybe bread-and-flour? Or baking-good-bread?"


@pytest.mark.parametrize(
    ("said", "slug", "valid"),
    [
        ("queen-bee-life", "queen-bee-life", True),
        (" queen-bee-life\n", "queen-bee-life", True),
        # In a phrase, in quotes, in code, in an address.
        ("Here is it: `Queen-Bee`!", "queen-bee", False),
        ("Sure! Here is the slug: `amelia-earhart-pilot`", "amelia-earhart-pilot", False),
        ("Sure! Here is the slug: amelia-earhart-pilot", "amelia-earhart-pilot", False),
        ("Here's the kebab-case slug: queen-bee", "queen-bee", False),
        ("Slug: queen-bee-life\n\nIt names the well-known topic.", "queen-bee-life", False),
        ("queen-bee-life\n\nThis short slug is state-of-the-art.", "queen-bee-life", False),
        ("I would take **queen-bee-life** for this page.", "queen-bee-life", False),
        ("Of course: \u201cqueen-bee-life\u201d.", "queen-bee-life", False),
        ('"queen-bee-life"', "queen-bee-life", False),
        ("```\nqueen-bee-life\n```", "queen-bee-life", False),
        ("```text\nqueen-bee-life\n```\n", "queen-bee-life", False),
        ('{"slug": "queen-bee-life"}', "queen-bee-life", False),
        ('```json\n{"url": "/bees/queen-bee-life"}\n```', "queen-bee-life", False),
        ("/queen-bee-life/", "queen-bee-life", False),
        ("https://my-site.example.com/all-about-bees/queen-bee-life", "queen-bee-life", False),
        ("example.com/queen-bee-life.html", "queen-bee-life", False),
        ("[queen-bee-life](https://example.com/queen-bee-life)", "queen-bee-life", False),
        ("1. queen-bee-life", "queen-bee-life", False),
        ("Queen-Bee-Life", "queen-bee-life", False),
        ("Queen Bee Life", "queen-bee-life", False),
        ("queen_bee_life", "queen-bee-life", False),
        ("Slug: queen_bee_life", "queen-bee-life", False),
        ("queen\u2011bee\u2011life", "queen-bee-life", False),
        ("Königin-der-Bienen", "konigin-der-bienen", False),
        ("queen-bee-life<|im_end|>", "queen-bee-life", False),
        ("one-two-three-four-five-six-seven-eight-nine", "one-two-three-four-five-six-seven-eight",
         False),
        # No slug, or none that is clear.
        ("I am sorry, but I can not help you now", "", False),
        ("1. queen-bee-life\n2. life-of-a-queen\n3. bees-at-home", "", False),
        ("queen-bee-life or life-of-a-queen", "", False),
        ("mail me at queen-bee@my-host.org", "", False),
        ("x" * 200, "", False),
        ("-".join("x" * 40), "x-x-x-x-x-x-x-x", False),
        ("---", "", False),
        ("", "", False),
        ("😀", "", False),
        ("a" * 100_000, "", False),
        ("/" * 100_000, "", False),
        ("a-" * 50_000, "", False),
        # Thinking is no part of the answer.
        (f"<think>\n{THINKS}\n</think>\n\nqueen-bee-life", "queen-bee-life", True),
        (f"{THINKS}\n</think>\nqueen-bee-life", "queen-bee-life", True),
        (f"<think>{THINKS}</think>Slug: `queen-bee-life`", "queen-bee-life", False),
        (f"<think>{THINKS}", "", False),
        (f"queen-bee-life\n<think>{THINKS}", "queen-bee-life", True),
        (f"<think>a <think>{THINKS}</think> b </think>queen-bee-life", "queen-bee-life", True),
        (f"<think>a</think><think>{THINKS}</think>queen-bee-life", "queen-bee-life", True),
        ("<think></think>queen-bee-life", "queen-bee-life", True),
        (f"<Thinking>{THINKS}</Thinking> queen-bee-life", "queen-bee-life", True),
        (f"[THINK]{THINKS}[/THINK]queen-bee-life", "queen-bee-life", True),
        (f"◁think▷{THINKS}◁/think▷queen-bee-life", "queen-bee-life", True),
        (f"<|channel|>analysis<|message|>{THINKS}<|end|><|start|>assistant<|channel|>final"
         "<|message|>queen-bee-life", "queen-bee-life", True),
        (f"<|channel|>analysis<|message|>{THINKS}", "", False),
    ],
)  # fmt: skip
def test_the_slug_in_an_answer(said, slug, valid):
    written = answer_text({"content": said})
    assert (find_slug(written), is_valid(written)) == (slug, valid)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": [{"type": "text", "text": "queen-"}, {"type": "text", "text": "bee"}]},
         "queen-bee"),
        ({"content": [{"type": "thinking", "thinking": "so"}, {"type": "text", "text": "a-b"}]},
         "a-b"),
        ({"content": [{"type": "reasoning", "text": "so"}, {"type": "output_text", "text": "a-b"}]},
         "a-b"),
        ({"content": ["a-b", None, 3, {}]}, "a-b"),
        ({"content": "a-b", "reasoning_content": "so", "reasoning": "so"}, "a-b"),
        ({"content": None, "reasoning_content": "a-b"}, ""),
        ({"content": None, "refusal": "I cannot"}, ""),
        ({"content": [{"type": "refusal", "refusal": "I cannot"}]}, ""),
        ({"content": {"text": "a-b"}}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_the_text_of_a_message(message, text):
    assert answer_text(message) == text
