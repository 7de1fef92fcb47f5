"""Open every page of the built book in Chromium, from a local server and nothing else."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import BOOK, SCREENS, visit
from chapters.ch10_steps import UNIT, steps_record

PAGES = sorted(str(path.relative_to(BOOK)) for path in BOOK.rglob("*.html"))
PAGES = [page for page in PAGES if page != "index.html" and "_static" not in page]
PLOTTED = [page for page in PAGES if 'class="v2s-plot"' in (BOOK / page).read_text("utf-8")]

# No canvas: a figure drawn with WebGL stays empty where there is no graphics card.
UNDRAWN = """() => [...document.querySelectorAll(".v2s-plot")].filter((plot) => {
  const marks = ".cartesianlayer .overplot :is(path, image), .pielayer path";
  return ![...plot.querySelectorAll(marks)].some((mark) => {
    const box = mark.getBoundingClientRect();
    return box.width > 0 || box.height > 0;
  });
}).map((plot) => plot.getAttribute("aria-label"))"""
BAD_IMAGES = """() => [...document.images].filter((image) =>
  !image.naturalWidth || !image.hasAttribute("alt")
  || (image.closest("article") && /^$|\\.png$/.test(image.alt))).map((image) => image.outerHTML)"""
HEADINGS = """() => [...document.querySelectorAll("main :is(h1, h2, h3, h4, h5, h6)")]
  .filter((heading) => heading.checkVisibility()).map((heading) => Number(heading.tagName[1]))"""
# Without `preload`: axe would fetch style sheets again, from wrong addresses. To list what passes,
# too, takes most of the time.
AUDIT = {"preload": False, "resultTypes": ["violations"]}


def test_the_book_is_built():
    assert PAGES, "there is no book in _build/html: run `make book` first"
    assert PLOTTED


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("name", PAGES)
def test_page(browser, root, name, screen):
    with visit(browser, root + name, root, **SCREENS[screen]) as (page, problems):
        assert not problems
        assert page.evaluate(UNDRAWN) == []
        assert page.evaluate(BAD_IMAGES) == []
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= SCREENS[screen]["viewport"]["width"]
        assert page.evaluate("document.documentElement.lang") == "en-GB"
        assert "vec2slug" in page.title()
        levels = page.evaluate(HEADINGS)
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(b <= a + 1 for a, b in pairwise(levels)), levels
        found = Axe().run(page, options=AUDIT).response["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert [(each["id"], each["nodes"][0]["html"]) for each in serious] == []


@pytest.mark.parametrize("screen", SCREENS)
def test_first_screen_shows_five_slugs(browser, root, screen):
    with visit(browser, root, root, **SCREENS[screen]) as (page, _):
        page.wait_for_url("**/book/intro.html")  # index.html only sends the reader on
        rows = page.locator(".v2s-table").first.locator("tbody tr")
        assert rows.count() == 5
        last = rows.last.bounding_box()
        assert last["y"] + last["height"] <= SCREENS[screen]["viewport"]["height"]


def test_first_key_reaches_the_skip_link(browser, root):
    with visit(browser, root + PAGES[0], root) as (page, _):
        page.keyboard.press("Tab")
        link = page.locator(":focus")
        assert "main content" in link.inner_text()
        page.wait_for_function("document.activeElement.getBoundingClientRect().top >= 0")
        target = link.get_attribute("href")
        assert page.locator(f"main{target}, main {target}").count() == 1


def test_figures_follow_the_theme(browser, root):
    colour = "getComputedStyle(document.querySelector('.v2s-plot .xtick text')).fill"
    theme = "theme => (document.documentElement.dataset.theme = theme)"
    with visit(browser, root + PLOTTED[0], root) as (page, problems):
        light = page.evaluate(colour)
        page.evaluate(theme, "dark")
        page.wait_for_function(f"{colour} !== {light!r}")
        page.evaluate(theme, "light")
        page.wait_for_function(f"{colour} === {light!r}")
        assert not problems


def test_works_from_a_file(browser):
    address = (BOOK / PLOTTED[0]).as_uri()
    with visit(browser, address, BOOK.as_uri()) as (page, problems):
        assert not problems
        assert page.evaluate(UNDRAWN) == []


def rounded(units):
    """A share as the viewer writes it: JavaScript rounds ties up, Python to even."""
    return str(Decimal(units / UNIT).quantize(Decimal("0.001"), ROUND_HALF_UP))


def check_step(page, example, at):
    """Compare what the viewer shows of one step with the values computed in Python."""
    step, before = example["steps"][at], [each["token"] for each in example["steps"][:at]]
    says = page.locator(".v2s-says").inner_text()
    assert f"Step {at + 1} of {len(example['steps'])}" in says
    assert step["token"] in says
    assert says.endswith(f"with probability {rounded(step['p'])}.")
    assert page.locator(".v2s-tokens [aria-current]").inner_text() == step["token"]
    layers = page.locator(".v2s-layers > li").all()
    assert len(layers) == len(step["lens"]) == len(step["attention"]) + 1
    positions = ["prefix", "<bos>", *before]
    for i, layer in enumerate(layers):
        bars = layer.locator(".v2s-bars li").all_inner_texts()
        assert [bar.split() for bar in bars] == [[t, rounded(p)] for t, p in step["lens"][i]]
        cells = [cell.split() for cell in layer.locator(".v2s-strip li").all_inner_texts()]
        shares = map(rounded, step["attention"][i - 1]) if i else []
        assert cells == ([list(pair) for pair in zip(positions, shares, strict=True)] if i else [])
    top = page.locator(".v2s-output .v2s-bars li").all_inner_texts()
    assert [bar.split() for bar in top] == [[t, rounded(p)] for t, p in step["top"]]
    points = page.locator(".v2s-line").get_attribute("points").split()
    heights = [float(point.split(",")[1]) for point in points]
    assert heights == pytest.approx([min(log / 100, 8) * 15 for log in step["curve"]], abs=0.06)
    shades = page.locator(".v2s-layers > li:last-child .v2s-shade i").all()
    opacity = [float(shade.evaluate("e => getComputedStyle(e).opacity")) for shade in shades]
    assert opacity == pytest.approx([share / UNIT for share in step["attention"][-1]], abs=1e-3)


@pytest.mark.parametrize("screen", SCREENS)
def test_stepping_shows_the_values_computed_in_python(browser, root, screen):
    models = {name: steps_record(name) for name in ("3j", "4c")}
    address = f"{root}notebooks/10_logit_lens.html"
    with visit(browser, address, root, **SCREENS[screen]) as (page, problems):
        first, other = models["3j"]["examples"][0], models["3j"]["examples"][-1]
        back, forward = page.get_by_text("← Back"), page.get_by_text("Next →")
        check_step(page, first, 0)
        assert back.is_disabled()
        page.locator(".v2s-steps").press("ArrowRight")
        check_step(page, first, 1)
        back.click()
        assert back.is_disabled()
        page.keyboard.press("ArrowRight")  # the focus is still in the figure
        check_step(page, first, 1)
        forward.click()
        check_step(page, first, 2)
        page.keyboard.press("ArrowLeft")
        check_step(page, first, 1)
        page.keyboard.press("ArrowRight")
        check_step(page, first, 2)
        page.keyboard.press("ArrowLeft")
        check_step(page, first, 1)
        page.keyboard.press("End")
        check_step(page, first, len(first["steps"]) - 1)
        assert forward.is_disabled()
        page.keyboard.press("ArrowRight")  # there is nothing beyond
        check_step(page, first, len(first["steps"]) - 1)
        page.keyboard.press("Home")
        check_step(page, first, 0)
        page.locator(".v2s-tokens button").nth(2).click()
        check_step(page, first, 2)
        page.locator("[data-v2s=page]").select_option(label=other["name"])
        check_step(page, other, 0)
        page.locator("[data-v2s=model]").select_option("4c")
        check_step(page, models["4c"]["examples"][-1], 0)
        page.locator(".v2s-tokens button").nth(1).press("ArrowRight")
        check_step(page, models["4c"]["examples"][-1], 1)
        assert not problems


def test_every_step_of_every_page_can_be_reached(browser, root):
    with visit(browser, f"{root}notebooks/10_logit_lens.html", root) as (page, problems):
        for example in steps_record("3j")["examples"]:
            page.locator("[data-v2s=page]").select_option(label=example["name"])
            page.locator(".v2s-tokens button").first.focus()
            for step in example["steps"]:
                assert page.locator(".v2s-tokens [aria-current]").inner_text() == step["token"]
                page.keyboard.press("ArrowRight")
            slug = page.locator(".v2s-output p code").first.inner_text()
            assert slug == example["slug"]
        assert not problems
