"""Open every page of the built book in Chromium, from a local server and nothing else."""

from __future__ import annotations

import functools
import os
import shutil
import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

BOOK = Path(__file__).parents[1] / "_build" / "html"
PAGES = sorted(str(path.relative_to(BOOK)) for path in BOOK.rglob("*.html"))
PAGES = [page for page in PAGES if page != "index.html" and "_static" not in page]
PLOTTED = [page for page in PAGES if 'class="v2s-plot"' in (BOOK / page).read_text("utf-8")]
# One figure may be slow to draw on a busy machine; nothing here asserts a time.
TIMEOUT_MS = 180_000
SCREENS = {
    "desktop": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"},
    "phone": {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"},
}
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
    --disable-background-networking --disable-component-update""".split()

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


@contextmanager
def served(folder):
    """Serve a folder on a free port of this machine; yield its address, ending in a slash."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    handler.func.log_message = lambda *_: None
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def root():
    with served(BOOK) as address:
        yield address


@pytest.fixture(scope="session")
def browser():
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    assert path, "no Chromium found: `make test` installs it"
    with sync_playwright() as playwright:
        # Playwright would hand the browser our proxy settings, but nothing may leave the machine.
        env = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, env=env)
        yield browser
        browser.close()


@contextmanager
def visit(browser, address, home, **screen):
    """Open one page, let it draw its figures, and collect what the browser complains about."""
    context = browser.new_context(**(screen or SCREENS["desktop"]))
    context.set_default_timeout(TIMEOUT_MS)
    page, problems = context.new_page(), []

    def report(kind, detail):
        problems.append(f"{kind}: {detail}")

    page.on("pageerror", lambda error: report("error", error))
    page.on("console", lambda line: line.type == "error" and report("console", line.text))
    page.on("requestfailed", lambda request: report("failed", request.url))
    page.on("response", lambda reply: reply.status >= 400 and report(reply.status, reply.url))
    local = (home, "data:", "blob:")
    page.on("request", lambda each: each.url.startswith(local) or report("remote", each.url))
    page.goto(address)
    page.wait_for_function("document.querySelectorAll('.v2s-figure:not(.v2s-drawn)').length === 0")
    yield page, problems
    context.close()


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
        # Without `preload`: axe would fetch style sheets again, from wrong addresses.
        found = Axe().run(page, options={"preload": False}).response["violations"]
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


def test_works_under_a_folder_of_the_server(browser, tmp_path):
    (tmp_path / "vec2slug").symlink_to(BOOK)
    with served(tmp_path) as home:
        for name in PAGES:
            with visit(browser, f"{home}vec2slug/{name}", f"{home}vec2slug/") as (page, problems):
                assert not problems, name
                assert page.evaluate(UNDRAWN) == [], name


def test_works_from_a_file(browser):
    address = (BOOK / PLOTTED[0]).as_uri()
    with visit(browser, address, BOOK.as_uri()) as (page, problems):
        assert not problems
        assert page.evaluate(UNDRAWN) == []
