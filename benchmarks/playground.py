"""The playground in Chromium: agreement with Python, sizes, times and memory.

Run: ``python benchmarks/playground.py [--out record.json]`` after ``make book``; some ten minutes.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import is_free, processor
from tqdm import tqdm

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from browser import chromium, open_model, served, until

from vec2slug_lib.common.files import file_sha256, read_json, write_json
from vec2slug_lib.data import dataset
from vec2slug_lib.data.examples import example_vectors, load_examples
from vec2slug_lib.embedding.minilm_graph import reader_folder
from vec2slug_lib.embedding.registry import open_embedder
from vec2slug_lib.inference.predictor import SlugPredictor
from vec2slug_lib.inference.release_folder import DEFAULT_MODEL
from vec2slug_lib.release.browser import collect

ROOT = Path(__file__).parents[1]
ROUNDS = 5  # of pressing Start
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Playground</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="play/playground.css">
<div id="v2s-playground"></div><script type="module" src="play/page.js"></script>"""
SLUG = """async row => {
  const vector = Float32Array.from(row);
  const answer = await client.ask("slug", { vector, topK: 5 });
  const { candidates, steps, milliseconds, variant } = answer;
  return [candidates[0].slug, candidates[0].score, milliseconds, steps.length, variant];
}"""
TEXT = """async ([text, vectorOnly]) => {
  const answer = await client.ask("text", { text, vectorOnly, topK: 5 });
  const { candidates, vector, milliseconds, read } = answer;
  return [Array.from(vector), milliseconds + read, candidates[0].slug];
}"""

# Milliseconds of the decoder's call with some hypotheses, all after the same tokens.
CALLS = """async rows => {
  const read = async name => (await fetch("/play/" + name)).arrayBuffer();
  const runtime = await import("/play/ort.wasm.bundle.min.mjs");
  const { CachedStepper, openSession } = await import("/play/stepper.js");
  runtime.env.wasm.wasmBinary = await read("ort-wasm-simd-threaded.wasm");
  runtime.env.wasm.numThreads = 1;
  const session = await openSession(runtime, await read("model_cached.onnx"));
  const { model } = JSON.parse(new TextDecoder().decode(await read("model.json")));
  const stepper = new CachedStepper(runtime, session, model);
  const run = async count => {
    await stepper.start(new Float32Array(model.input_dim).fill(0.05), 8);
    const began = performance.now();
    await stepper.step(Array(count).fill(0), Array(count).fill(50));
    return performance.now() - began;
  };
  const times = {};
  for (const count of rows) {
    times[count] = [];
    for (let i = -3; i < 30; i++) {
      const spent = await run(count);
      if (i >= 0) times[count].push(spent);
    }
  }
  return times;
}"""


def build(home: Path) -> dict[str, Any]:
    """A site of nothing but the playground; what is in it."""
    runtime = ROOT / "_build/npm/node_modules/onnxruntime-web/dist"
    reader = reader_folder()
    missing = collect(ROOT / "book/playground", DEFAULT_MODEL, reader, runtime, home / "play")
    if missing:
        sys.exit(f"expected a built book, but it lacks {missing}: run `make book` first")
    (home / "index.html").write_text(PAGE, encoding="utf-8")
    return read_json(home / "play/files.json")


def first_slug(browser: Any, address: str) -> float:
    """Seconds from the press of the button to the first slug, with an empty cache."""
    page = browser.new_context().new_page()
    page.goto(address)
    button = page.get_by_role("button", name="Start")
    button.wait_for()
    began = time.perf_counter()
    button.click()
    until(page, "document.querySelector('.v2s-slug')?.textContent")
    seconds = time.perf_counter() - began
    page.context.close()
    return seconds


def memory() -> float:
    """MiB that the browser's page processes hold."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"--type=renderer" in (folder / "cmdline").read_bytes():
                status = (folder / "status").read_text()
                total += int(status.split("VmRSS:")[1].split()[0])
        except (OSError, IndexError):
            continue
    return total / 1024


def agreement(found: list[tuple[str, float]], rows: np.ndarray) -> dict[str, Any]:
    """How many best slugs are Python's; where they differ, how near Python scores the two."""
    gaps = []
    for (slug, _), candidates in zip(found, predictor().predict_topk(rows, 8), strict=True):
        if slug != candidates[0].slug:
            gaps.append(candidates[0].score - dict(candidates).get(slug, -np.inf))
    return {"rows": len(rows), "same": len(rows) - len(gaps), "largest_gap": max(gaps, default=0.0)}


def predictor() -> SlugPredictor:
    """Python's side, as the command line has it."""
    return SlugPredictor.from_dir(embedder=open_embedder())


def article_slugs(page: Any) -> dict[str, dict[str, str]]:
    """Slugs of the book's articles by name: from the vector that the page has, and from the text.

    That vector is of the float32 weights; of a text, the page makes one with int8 weights, and
    goes by it alone.
    """
    articles = load_examples()
    vectors = example_vectors(open_embedder(exact=True)).astype(np.float64).round(6)
    return {
        article.name: {
            "vector": page.evaluate(SLUG, vector.tolist())[0],
            "text": page.evaluate(TEXT, [article.text, True])[2],
        }
        for article, vector in zip(articles, vectors, strict=True)
    }


def without_reader(browser: Any, address: str, rows: np.ndarray) -> list[float]:
    """Milliseconds a slug before the embedder is there: nothing is re-ranked."""
    page = browser.new_page()
    page.set_default_timeout(0)
    page.goto(address)
    open_model(page, "/play/", reader=False)
    found = [page.evaluate(SLUG, row.tolist()) for row in rows]
    page.close()
    assert {variant for *_, variant in found} == {"mbr"}
    return [round(spent, 1) for _, _, spent, _, _ in found[3:]]  # first calls set things up


def measure(page: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Times, agreement and memory of an open page."""
    rows = dataset.load().part("test").vectors
    open_model(page, "/play/")
    texts = [part for e in load_examples() for part in re.split(r"(?<=\.)\s+", e.text)]
    texts = texts[: options.texts]
    for row in rows[-3:]:  # first calls set things up
        page.evaluate(SLUG, row.tolist())
    found, memories = [], []
    for i in tqdm(range(options.generations), unit="slug"):
        found.append(page.evaluate(SLUG, rows[i].tolist()))
        if i + 1 in (options.warm, options.generations):
            memories.append(memory())
    read = [page.evaluate(TEXT, [text, False]) for text in tqdm(texts, unit="text")]
    exact = open_embedder(exact=True).embed(texts)
    cosines = (np.array([vector for vector, *_ in read]) * exact).sum(axis=1)
    calls = page.evaluate(CALLS, [1, options.beam])
    pairs = [(slug, score) for slug, score, *_ in found[: options.rows]]
    (variant,) = {each[4] for each in found}
    return {
        "variant": variant, "articles": article_slugs(page),
        "agreement": agreement(pairs, rows[: options.rows]),
        "milliseconds": {
            "slug": [round(each[2], 1) for each in found],
            "text and slug": [round(spent, 1) for _, spent, _ in read],
        },
        "call_milliseconds": {rows: float(np.median(times)) for rows, times in calls.items()},
        "steps": float(np.mean([each[3] for each in found])),
        "reader_cosine": {"low": float(cosines.min()), "high": float(cosines.max())},
        "memory": {
            "slugs": options.generations, "warm": options.warm,
            "first_mib": memories[0], "last_mib": memories[1],
        },
    }  # fmt: skip


def main() -> None:
    """Measure, print, and write the record if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200, help="compared with Python")
    parser.add_argument("--generations", type=int, default=500)
    parser.add_argument("--warm", type=int, default=50)
    parser.add_argument("--texts", type=int, default=100)
    parser.add_argument("--out", type=Path, help="record to write")
    options = parser.parse_args()
    free = is_free()
    with (
        tempfile.TemporaryDirectory() as home,
        served(home) as address,
        chromium() as browser,
    ):
        files = build(Path(home))
        seconds = [first_slug(browser, address) for _ in range(ROUNDS)]
        first = dataset.load().part("test").vectors[: options.texts]
        plain = without_reader(browser, address, first)
        page = browser.new_page()
        page.set_default_timeout(0)
        page.goto(address)
        options.beam = files["settings"]["risk"]["beam_width"]
        content = {
            "machine": processor(), "cores": os.cpu_count(), "alone": free,
            "browser": browser.version,
            "bytes": {f["name"]: f["bytes"] for kind in ("writer", "reader") for f in files[kind]},
            "width": files["width"], "hypotheses": options.beam,
            "first_slug_seconds": {"median": float(np.median(seconds)), "all": seconds},
            "weights": file_sha256(DEFAULT_MODEL / "model.safetensors"), **measure(page, options),
        }  # fmt: skip
        content["milliseconds"]["slug, not re-ranked"] = plain
    for name, values in content["milliseconds"].items():
        print(f"{name}: median {np.median(values):.0f} ms, 95 % {np.percentile(values, 95):.0f} ms")
    print({k: content[k] for k in ("agreement", "memory", "first_slug_seconds", "reader_cosine")})
    if options.out:
        write_json(options.out, content)


if __name__ == "__main__":
    main()
