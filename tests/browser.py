"""A local server and Chromium, for tests and benchmarks that look at pages as a reader does."""

from __future__ import annotations

import functools
import os
import shutil
import threading
import time
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import sync_playwright

BOOK = Path(__file__).parents[1] / "_build" / "html"
# A page may be slow on a busy machine; no test asserts a time.
TIMEOUT_MS = 180_000
SCREENS = {
    "desktop": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"},
    "phone": {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"},
}
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
    --disable-background-networking --disable-component-update""".split()
# No name is looked up: what Chromium asks of its maker in spite of these flags, it cannot ask.
FLAGS.append("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")

OPEN = """async ([base, reader]) => {
  const { Client } = await import(base + "client.js");
  const manifest = await (await fetch(base + "files.json")).json();
  window.client = new Client(() => {});
  const { writer, settings, limit } = manifest;
  await client.ask("writer", { base, files: writer, settings });
  if (reader) await client.ask("reader", { base, files: manifest.reader, limit });
}"""


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


@contextmanager
def chromium():
    """Chromium of this machine, without a way out of it."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    assert path, "no Chromium found: `make test` installs it"
    with sync_playwright() as playwright:
        # Playwright would hand the browser our proxy settings, but nothing may leave the machine.
        env = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, env=env)
        yield browser
        browser.close()


def until(page, condition, argument=None):
    """Wait until a condition holds in the page. (Playwright's own way breaks strict policies.)"""
    end = time.monotonic() + TIMEOUT_MS / 1000
    while not holds(page, condition, argument):
        assert time.monotonic() < end, f"never came true: {condition}"
        page.wait_for_timeout(20)


def holds(page, condition, argument):
    """Whether a condition holds now; not yet if the page was just sent on to another."""
    try:
        return page.evaluate(condition, argument)
    except PlaywrightError as error:
        if "navigation" not in error.message:
            raise
        return False


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
    until(page, "document.querySelectorAll('.v2s-figure:not(.v2s-drawn)').length === 0")
    yield page, problems
    context.close()


def open_model(page, base, reader=True):
    """Open the playground's model behind a page, which then has it as ``client``.

    Args:
        page: any page of the same server.
        base: address of the playground's files, ending in a slash.
        reader: whether to open the embedder too.
    """
    page.evaluate(OPEN, [base, reader])
