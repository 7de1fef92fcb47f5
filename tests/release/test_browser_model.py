"""The playground in Chromium: the slugs of Python, and every control as a person would use it.

What its scripts compute is compared with Python, case by case, in `test_browser_parity.py`.
"""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import BOOK, SCREENS, open_model, served, until, visit

from vec2slug_lib.common.files import read_json
from vec2slug_lib.common.workspace import current
from vec2slug_lib.data import dataset
from vec2slug_lib.data.examples import load_examples
from vec2slug_lib.embedding.registry import open_embedder
from vec2slug_lib.inference.predictor import SlugPredictor
from vec2slug_lib.inference.release_folder import DEFAULT_MODEL
from vec2slug_lib.release.browser import RUNTIME, collect

PAGE = "notebooks/13_playground.html"
FILES = BOOK / "_static/playground"
SLUGS = """async ([rows, topK]) => {
  const found = [];
  for (const row of rows) {
    const { candidates } = await client.ask("slug", { vector: Float32Array.from(row), topK });
    found.push(candidates.map(({ slug, score }) => [slug, score]));
  }
  return found;
}"""


@pytest.fixture(scope="module")
def model(browser, root):
    """The playground's page, not started, with the model open behind it."""
    with visit(browser, root + PAGE, root) as (page, problems):
        open_model(page, f"{root}_static/playground/")
        yield page
        assert not problems


def in_browser(model, rows, top_k=5):
    """Candidates of each row."""
    return model.evaluate(SLUGS, [np.asarray(rows, np.float32).tolist(), top_k])


def assert_python_agrees(found, python, tolerance):
    """Scores of slugs in both are close; another best slug is as good as Python's own.

    Returns:
        The differences of the scores.
    """
    differences = []
    for candidates, others in zip(found, map(dict, python), strict=True):
        gaps = [abs(score - others[slug]) for slug, score in candidates if slug in others]
        assert max(gaps) <= tolerance
        differences += gaps
        (slug, _), best = candidates[0], max(others, key=others.get)
        if slug in others and best in dict(candidates):  # else a beam has dropped one of the two
            assert others[best] - others[slug] <= 2 * tolerance
    return differences


def test_slugs_that_are_not_re_ranked_are_those_of_python(browser, root):
    """Both multiply in float32, so that only the order of sums is another."""
    rows = dataset.load().part("test").vectors[:200]
    python = SlugPredictor.from_dir().predict_topk(rows, 8)
    with visit(browser, root + PAGE, root) as (page, problems):
        open_model(page, f"{root}_static/playground/", reader=False)
        found = in_browser(page, rows, 8)
        assert not problems
    assert_python_agrees(found, python, 1e-3)
    same = [ours[0][0] == theirs[0].slug for ours, theirs in zip(found, python, strict=True)]
    assert np.mean(same) > 0.98


def test_slugs_are_re_ranked_as_on_the_command_line(model):
    """The embedder's weights are rounded: of vectors with a cosine of 0.9995 to the exact ones.

    That is a step of 0.03, of which a score has a third at the very most, and nearly always less.
    """
    rows = dataset.load().part("test").vectors[:100]
    python = SlugPredictor.from_dir(embedder=open_embedder()).predict_topk(rows, 8)
    found = in_browser(model, rows, 8)
    assert np.median(assert_python_agrees(found, python, 0.01)) < 0.001
    same = [ours[0][0] == theirs[0].slug for ours, theirs in zip(found, python, strict=True)]
    assert np.mean(same) > 0.9


def test_the_record_has_the_slugs_that_the_page_gives(model):
    record = read_json(current().data / "benchmarks" / "playground.json")
    examples = read_json(FILES / "examples.json")
    names = [example.name for example in load_examples()]
    found = in_browser(model, [example["vector"] for example in examples], 1)
    slugs = {name: candidates[0][0] for name, candidates in zip(names, found, strict=True)}
    assert slugs == {name: record["articles"][name]["vector"] for name in names}


def test_vectors_of_texts_lie_beside_those_of_the_float32_weights(model):
    texts = ["How to bake bread at home", "The eruption of Mount St. Helens in May 1980"]
    ask = "async text => Array.from((await client.ask('text', { text, topK: 1 })).vector)"
    found = np.array([model.evaluate(ask, text) for text in texts])
    cosines = (found * open_embedder(exact=True).embed(texts)).sum(axis=1)
    assert cosines.min() > 0.998
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)


def test_nothing_is_loaded_before_it_is_asked_for(browser, root):
    asked = []
    with visit(browser, "about:blank", root) as (page, problems):
        page.on("request", lambda request: asked.append(request.url))
        page.goto(root + PAGE)
        button = page.get_by_role("button", name="Start")
        size = sum(file["bytes"] for kind in ("writer", "reader") for file in manifest()[kind])
        assert f"{size / 1e6:.0f} MB" in button.inner_text()
        assert not [url for url in asked if url.endswith((".onnx", ".wasm"))]
        assert not problems


def manifest():
    return read_json(FILES / "files.json")


@contextmanager
def started(browser, root, **screen):
    """The page after Start, with its first slug."""
    with visit(browser, root + PAGE, root, **screen) as (page, problems):
        page.get_by_role("button", name="Start").click()
        page.get_by_text("works offline").wait_for()
        yield page
        assert not problems


def slug_after(page, act, *arguments, **options):
    """The slug that is shown once an action has changed the candidates or their scores."""
    read = "document.querySelector('#v2s-playground .v2s-table').textContent"
    before = page.evaluate(read)
    act(*arguments, **options)
    until(page, f"before => ![before, ''].includes({read})", before)
    return page.locator(".v2s-slug").inner_text()


def wait_for_slug(page, pattern):
    read = "document.querySelector('.v2s-slug').textContent"
    until(page, f"pattern => new RegExp(pattern).test({read})", pattern)


def shown(page):
    """Candidates and their scores, as the table has them."""
    table = page.locator("#v2s-playground .v2s-table").first
    slugs, scores = table.locator("td:first-child"), table.locator("td.num")
    return list(zip(slugs.all_inner_texts(), scores.all_inner_texts(), strict=True))


def written(candidates):
    """Candidates as the table should have them."""
    return [(slug, f"{score:.3f}") for slug, score in candidates]


def test_examples_show_text_reference_and_candidates(browser, root, model):
    examples = read_json(FILES / "examples.json")
    assert len(examples) >= 10
    expected = in_browser(model, [example["vector"] for example in examples[1:4]])
    with started(browser, root) as page:
        for example, candidates in zip(examples[1:4], expected, strict=True):
            pick = page.get_by_label("Example", exact=True).last
            found = slug_after(page, pick.select_option, label=example["title"])
            assert found == candidates[0][0]
            assert shown(page) == written(candidates)
            assert example["slug"] in page.locator("#v2s-playground").inner_text()
            assert "re-ranked by embedding similarity" in page.locator(".v2s-how").inner_text()
            said = page.get_by_role("region", name="Text of the example").inner_text()
            assert said.split() == example["text"].split()


def test_typing_shows_the_slug_without_a_button(browser, root):
    with started(browser, root) as page:
        page.get_by_label("Text", exact=True).check()
        field = page.get_by_label("Your text")
        field.press_sequentially("how to bake bread", delay=5)
        wait_for_slug(page, "bread|bak")
        field.fill("The eruption of a volcano in Iceland")
        wait_for_slug(page, "volcan|iceland")


def test_the_link_to_all_variants_has_a_target():
    assert '"12_release.html#one-configuration"' in (FILES / "result.js").read_text("utf-8")
    page = (BOOK / "notebooks/12_release.html").read_text("utf-8")
    assert 'id="one-configuration"' in page


def test_numbers_are_checked_and_used(browser, root, model):
    vector = dataset.load().part("test").vectors[0]
    ((expected, _), *_), *_ = in_browser(model, vector[None])
    with started(browser, root) as page:
        page.get_by_label("Numbers", exact=True).check()
        field, use = page.get_by_label("A vector of 384"), page.get_by_text("Use these numbers")
        bad = {
            "1 2 3": "Expected 384 numbers, got 3.",
            "": "Expected 384 numbers, got none.",
            json.dumps([0.0] * 384): "Expected a vector with a direction, got only zeros.",
            "1 " * 383 + "x": "Expected 384 finite numbers, but number 384 is “x”.",
            "1e39 " * 384: "Expected numbers within float32, got larger ones.",
        }
        for text, message in bad.items():
            field.fill(text)
            use.click()
            assert page.get_by_role("alert").inner_text() == message
        for text in (json.dumps(vector.tolist()), "\n".join(map(str, vector))):
            slug_after(page, page.get_by_text("Draw a random vector").click)
            field.fill(text)
            assert slug_after(page, use.click) == expected
        assert page.get_by_role("alert").inner_text() == ""


def drag(page, share):
    """Drag over the strip from near its left end."""
    canvas = page.locator("#v2s-playground canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 3, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * share, y, steps=4)
    page.mouse.up()


def test_a_range_of_bands_is_changed_by_dragging_and_undone(browser, root):
    with started(browser, root) as page:
        before = shown(page)
        page.get_by_label("Operation").select_option("invert")
        slug_after(page, drag, page, 0.6)
        assert shown(page) != before
        assert "One change" in page.locator("#v2s-playground").inner_text()
        width = page.locator("#v2s-playground canvas").bounding_box()["width"]
        assert page.get_by_label("From band").input_value() == str(1 + int(3 / width * 384))
        slug_after(page, page.get_by_role("button", name="Undo").click)
        assert shown(page) == before
        assert page.get_by_role("button", name="Undo").is_disabled()


@pytest.mark.parametrize("operation", ["invert", "zero", "scale", "noise"])
def test_a_range_of_bands_is_changed_by_keyboard(browser, root, operation):
    with started(browser, root) as page:
        page.get_by_label("Operation").select_option(operation)
        for label, band in (("From band", "1"), ("to", "300")):
            page.get_by_label(label, exact=True).fill(band)
        slug_after(page, page.get_by_role("button", name="Apply").press, "Enter")
        says = page.locator(".v2s-strip-box p").inner_text()
        assert "One change" in says
        assert float(says.split()[-1].rstrip(".")) < 1


def test_nothing_is_left_of_a_vector_whose_bands_are_all_zero(browser, root):
    with started(browser, root) as page:
        page.get_by_label("Operation").select_option("zero")
        for label, band in (("From band", "1"), ("to", "384")):
            page.get_by_label(label, exact=True).fill(band)
        page.get_by_role("button", name="Apply").click()
        assert "Nothing would be left" in page.locator(".v2s-strip-box p").inner_text()
        page.get_by_label("to", exact=True).fill("385")
        page.get_by_role("button", name="Apply").click()
        assert "from 1 to 384" in page.locator(".v2s-strip-box p").inner_text()


def test_the_way_between_two_examples(browser, root, model):
    examples = read_json(FILES / "examples.json")[:2]
    expected = in_browser(model, [example["vector"] for example in examples])
    with started(browser, root) as page:
        slug_after(page, page.get_by_label("Between two").check)
        way = page.get_by_label("Way", exact=True)
        for key, slug in (("End", expected[1][0][0]), ("Home", expected[0][0][0])):
            assert slug_after(page, way.press, key) == slug
        assert "0 % of the way" in page.locator("#v2s-playground").inner_text()


def test_steps_show_what_was_alive_and_what_ended(browser, root):
    with started(browser, root) as page:
        slug = page.locator(".v2s-slug").inner_text()
        page.locator("summary", has_text="Each step of the search").click()
        slider = page.get_by_label("Step", exact=True)
        slider.press("Home")
        tables = page.locator("details .v2s-table")
        assert "Step 1 of" in tables.inner_text()
        assert tables.locator("tbody tr").count() == 8
        slider.press("End")
        ended = []
        for _ in range(int(slider.get_attribute("max"))):
            ended += tables.locator("td:first-child").all_inner_texts()
            slider.press("ArrowLeft")
        assert slug in ended


def test_works_offline_once_loaded(browser, root):
    with started(browser, root) as page:
        page.context.set_offline(True)
        page.get_by_label("Text", exact=True).check()
        assert slug_after(page, page.get_by_label("Your text").fill, "growing tomatoes")


@pytest.mark.parametrize("screen", SCREENS)
def test_fits_the_screen_and_speaks_to_screen_readers(browser, root, screen):
    with started(browser, root, **SCREENS[screen]) as page:
        for source in ("Example", "Text", "Between two", "Numbers"):
            page.get_by_label(source, exact=True).first.check()
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= SCREENS[screen]["viewport"]["width"]
            found = Axe().run(page, "#v2s-playground", {"preload": False}).response["violations"]
            assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []


def test_works_under_a_folder_and_says_what_it_cannot_reach(browser, tmp_path):
    (tmp_path / "book").mkdir()
    shutil.copytree(BOOK, tmp_path / "book/vec2slug", ignore=shutil.ignore_patterns("*.onnx"))
    home = tmp_path / "book/vec2slug"
    with (
        served(tmp_path / "book") as address,
        visit(browser, f"{address}vec2slug/{PAGE}", f"{address}vec2slug/") as (page, _),
    ):
        page.get_by_role("button", name="Start").click()
        page.get_by_text("model_cached.onnx did not load (HTTP 404)").wait_for()
        for name in ("model_cached.onnx", "reader.onnx"):
            shutil.copy(FILES / name, home / "_static/playground")
        page.get_by_role("button", name="Start").click()
        page.get_by_text("works offline").wait_for()


def test_a_broken_file_is_refused(browser, tmp_path):
    home = tmp_path / "vec2slug"
    shutil.copytree(BOOK, home)
    graph = home / "_static/playground/model_cached.onnx"
    graph.write_bytes(graph.read_bytes()[:-1000])
    with served(home) as address, visit(browser, address + PAGE, address) as (page, problems):
        page.get_by_role("button", name="Start").click()
        page.get_by_text("model_cached.onnx broke off after").wait_for()
        assert not problems


def test_without_npm_the_page_says_what_is_missing(browser, tmp_path):
    home = tmp_path / "vec2slug"
    shutil.copytree(BOOK, home, ignore=shutil.ignore_patterns("playground", "*.onnx"))
    scripts, made = tmp_path / "scripts", home / "_static/playground"
    shutil.copytree(FILES, scripts, ignore=shutil.ignore_patterns(*RUNTIME, "*.onnx", "*.json"))
    missing = collect(scripts, DEFAULT_MODEL, FILES, tmp_path / "nowhere", made)
    assert missing == ["onnxruntime-web (from npm)"]
    with served(home) as address, visit(browser, address + PAGE, address) as (page, problems):
        page.get_by_text("built without onnxruntime-web (from npm)").wait_for()
        assert page.get_by_role("button", name="Start").count() == 0
        assert not problems


def test_the_page_forbids_other_origins(browser, root):
    with visit(browser, root + PAGE, root) as (page, _):
        probe = "fetch('http://127.0.0.2:9/').then(() => 'sent', error => error.message)"
        blocked = []
        page.on("console", lambda line: blocked.append(line.text))
        page.evaluate(probe)
        assert "Content Security Policy" in "".join(blocked)
