"""Time and memory of every step of the data and of inference, by the number of rows.

Documents are made of common words; vectors are real ones with a little noise. Each measurement has
a process of its own. Of the exponents, 1 is linear: twice the rows, twice the time or memory. Run:
``python benchmarks/scaling.py [--rows 10000,100000,1000000] [--steps ...] [--out record.json]``;
about 20 minutes and 5 GB of disk. Where other work slows the machine for minutes, run it again with
``--mend record.json``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from importlib.metadata import version
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from machine import processor
from memory import anonymous, family
from tqdm import tqdm

from vec2slug_lib.common.files import atomic, read_json, write_json
from vec2slug_lib.common.parquet import open_documents
from vec2slug_lib.common.slugs import STOPWORDS
from vec2slug_lib.common.vectors import dequantise
from vec2slug_lib.common.workspace import current
from vec2slug_lib.data.split import cluster, leak_report, select, split_clusters
from vec2slug_lib.embedding import base, job
from vec2slug_lib.inference.predictor import SlugPredictor
from vec2slug_lib.inference.slug_file import write_slugs
from vec2slug_lib.inference.slug_rows import rows_of_array
from vec2slug_lib.model.tokenizer import encode, save_tokenizer, train_bpe
from vec2slug_lib.release.release import export_graphs, model_json

INTERVAL, LOOK = 0.02, 0.5  # seconds between samples of the memory, and between looks for children
SHARD = 5_000  # rows of a file: the smallest corpus, too, is then shared by the workers
WORKERS = 2
LEAST = 1.0  # MiB; growth below it is taken for it, as nothing has no logarithm
SLUGGED = 5  # one in so many documents has an address with a slug
NOISE = 0.01  # of each of 384 numbers of a unit vector: the cosine to the real one is 0.98
SMALL = "the a of in and to for with from was is on at by that it had were this their".split()
DOCUMENTS, SHARDS, VECTORS, RELEASE = "documents.parquet", "shards", "vectors.npy", "release"
Work = Callable[[], object]


class Inputs(NamedTuple):
    """Where the files are that the steps read, for one number of rows."""

    folder: Path
    rows: int


def pieces(rows: int, name: str) -> Iterator[range]:
    """Rows of every shard, with a bar."""
    with tqdm(total=rows, desc=name, unit=" rows", unit_scale=True) as bar:
        for start in range(0, rows, SHARD):
            piece = range(start, min(start + SHARD, rows))
            yield piece
            bar.update(len(piece))


@lru_cache
def known_words() -> list[str]:
    """The commonest words of real slugs, all small words left out."""
    pairs = pd.read_parquet(current().data / "pairs.parquet", columns=["slug"])
    common = pairs["slug"].str.split("-").explode().value_counts().index[:2000]
    return [word for word in common if word.isalpha() and len(word) > 3 and word not in STOPWORDS]


def slugs(piece: range) -> list[str]:
    """Slugs of three to six words; hardly one is there twice."""
    rng = np.random.default_rng(piece.start)
    words, lengths = rng.choice(known_words(), (len(piece), 6)), rng.integers(3, 7, len(piece))
    return ["-".join(row[:length]) for row, length in zip(words, lengths, strict=True)]


def texts(piece: range) -> list[str]:
    """Texts of 53 words, every other one of them small: just above the least of the filters."""
    rng = np.random.default_rng(piece.start)
    words = rng.choice(known_words(), (len(piece), 53))
    words[:, ::2] = rng.choice(SMALL, (len(piece), 27))
    return [" ".join(row).capitalize() + "." for row in words]


def address(number: int, slug: str) -> str:
    """Of a document. The local filters stop at most others, as in a crawl, and so take minutes."""
    return f"https://e.org/{number}/{slug if number % SLUGGED == 0 else ''}"


def make_documents(inputs: Inputs) -> None:
    """Shards as FineWeb has them, with the columns that the filters add; and all in one file."""
    from vec2slug_lib.data.filters import SCHEMA

    (shards := inputs.folder / SHARDS).mkdir()
    with pq.ParquetWriter(inputs.folder / DOCUMENTS, SCHEMA) as whole:
        for piece in pieces(inputs.rows, "making documents"):
            named, rng = slugs(piece), np.random.default_rng(piece.start)
            columns = {
                "id": [f"<urn:uuid:{rng.bytes(16).hex()}>" for _ in piece],  # in random order
                "url": [address(i, slug) for i, slug in zip(piece, named, strict=True)],
                "slug": named,
                "text": texts(piece),
                **dict.fromkeys(("title", "source", "license"), [""] * len(piece)),
                "token_count": [53] * len(piece),
            }
            table = pa.table(columns, SCHEMA)
            whole.write_table(table)
            pq.write_table(table, shards / f"{piece.start:09}.parquet")


def make_vectors(inputs: Inputs) -> None:
    """Real vectors, drawn with replacement, with noise; a shard in memory at a time."""
    with np.load(current().data / "embeddings.minilm.npz") as file:
        codes, scales = file["codes"], file["scales"]
    rng = np.random.default_rng(0)
    head = {"descr": "<f4", "fortran_order": False, "shape": (inputs.rows, codes.shape[1])}
    with atomic(inputs.folder / VECTORS) as temporary, temporary.open("wb") as out:
        np.lib.format.write_array_header_1_0(out, head)
        for piece in pieces(inputs.rows, "making vectors"):
            chosen = rng.integers(0, len(codes), len(piece))
            rows = dequantise(codes[chosen], scales[chosen])
            rows += NOISE * rng.standard_normal(rows.shape, np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            out.write(rows.tobytes())


def make_release(inputs: Inputs) -> None:
    """A tiny untrained model with a word head, which decodes as the released one does."""
    import torch

    from vec2slug_lib.inference.settings import DecodingConfig
    from vec2slug_lib.model.decoder import Decoder, DecoderConfig
    from vec2slug_lib.model.weights import save_decoder

    folder = inputs.folder / RELEASE
    torch.manual_seed(0)
    tokenizer = train_bpe(slugs(range(1000)), 100)
    sizes = dict[str, Any](embed_dim=8, num_heads=2, num_layers=1, max_slug_tokens=8, head_dim=8)
    config = DecoderConfig(**sizes, tied=True, vocab_size=tokenizer.get_vocab_size())
    save_tokenizer(tokenizer, folder / "tokenizer.json")
    save_decoder(Decoder(config), folder / "model.safetensors", int8=True)
    content = model_json(config, tokenizer, DecodingConfig(max_tokens=8))
    content["risk"]["beam_width"] = 1  # what a row costs is not the question here
    write_json(folder / "model.json", content)
    export_graphs(folder)


MAKERS = {SHARDS: make_documents, VECTORS: make_vectors, RELEASE: make_release}


def corpus(inputs: Inputs, out: Path) -> Work:
    """All filters, local and global."""
    from vec2slug_lib.data.corpus import build
    from vec2slug_lib.embedding.wordpiece import tokenizer_path

    source, tokenizer = str(inputs.folder / SHARDS), tokenizer_path()
    return lambda: build(source, out, tokenizer, WORKERS)["steps"][-1]["kept"]


def global_filters(inputs: Inputs, out: Path) -> Work:
    """Duplicates and frequent slugs alone."""
    from vec2slug_lib.data.deduplicate import global_filters

    return lambda: global_filters(inputs.folder / SHARDS, out / DOCUMENTS)[-1]["kept"]


class NoEmbedder:
    """Vectors at no cost, in the pieces of MiniLM: what is left is the bookkeeping."""

    name, dimensions = "none", 384

    def __init__(self) -> None:
        self.block = np.random.default_rng(0).standard_normal((2_000, 384), np.float32)

    def batches(self, texts: Sequence[str]) -> Iterator[slice]:
        """Pieces of 2,000 texts."""
        return base.slices(repeat(1, len(texts)), len(self.block), len(self.block))

    def embed(self, texts: Sequence[str]) -> Any:
        """The same vectors every time."""
        return self.block[: len(texts)]


def embed(inputs: Inputs, out: Path) -> Work:
    """The job that embeds documents, all but the embedding."""
    ids, documents = open_documents(inputs.folder / DOCUMENTS)
    return lambda: job.embed_documents(ids, documents, NoEmbedder(), out / VECTORS)


def clustering(inputs: Inputs, out: Path) -> Work:
    """Topics."""
    vectors = np.load(inputs.folder / VECTORS, mmap_mode="r")
    return lambda: cluster(vectors)


def all_slugs(rows: int) -> list[str]:
    """Slugs of all rows, made piece by piece, so that little memory is freed before the work."""
    return [slug for piece in pieces(rows, "making slugs") for slug in slugs(piece)]


def pairs_of(rows: int) -> pd.DataFrame:
    """Pairs with slugs, topics, and sources of which some are much larger than others."""
    rng = np.random.default_rng(0)
    topics = rng.integers(0, max(200, int(rows**0.5)), rows, np.int32)
    names = np.array([f"source {i}" for i in range(150)], dtype=object)
    sources = names[np.minimum(rng.zipf(1.5, rows), 150) - 1]
    return pd.DataFrame({"source": sources, "cluster": topics, "slug": all_slugs(rows)})


def split(inputs: Inputs, out: Path) -> Work:
    """Whole topics to splits, and half of the pairs selected."""
    pairs = pairs_of(inputs.rows)

    def work() -> int:
        pairs["split"] = split_clusters(pairs["cluster"].to_numpy())
        return len(select(pairs, inputs.rows // 2))

    return work


def leaks(inputs: Inputs, out: Path) -> Work:
    """Test rows, up to 10,000 of them, beside all training rows."""
    pairs, vectors = pairs_of(inputs.rows), np.load(inputs.folder / VECTORS, mmap_mode="r")
    pairs["split"] = split_clusters(pairs["cluster"].to_numpy())
    return lambda: leak_report(pairs, vectors)


def vocabulary(inputs: Inputs, out: Path) -> Work:
    """Byte pairs learnt from the slugs, and the slugs encoded."""
    known = all_slugs(inputs.rows)
    return lambda: len(encode(train_bpe(known, 5000), known))


def inference(inputs: Inputs, out: Path) -> Work:
    """Slugs of a file of vectors, into a file."""
    predictor, vectors = (
        SlugPredictor.from_dir(inputs.folder / RELEASE),
        np.load(inputs.folder / VECTORS, mmap_mode="r"),
    )
    bar = tqdm(total=len(vectors), desc="slugs", unit="slug", mininterval=5)
    rows, made_of = rows_of_array(vectors, predictor.config.input_dim), {"model": "release"}
    return lambda: write_slugs(predictor, rows, out / "slugs.jsonl", made_of, progress=bar.update)


# What starts a step (it imports and opens; only the work is timed), and what the step reads.
STEPS: dict[str, tuple[Callable[[Inputs, Path], Work], tuple[str, ...]]] = {
    "corpus": (corpus, (SHARDS,)),
    "global-filters": (global_filters, (SHARDS,)),
    "embedding": (embed, (SHARDS,)),
    "clustering": (clustering, (VECTORS,)),
    "split": (split, ()),
    "leaks": (leaks, (VECTORS,)),
    "vocabulary": (vocabulary, ()),
    "inference": (inference, (VECTORS, RELEASE)),
}
STREAMING = ("corpus", "global-filters", "embedding", "inference")  # memory should stay as it is


def serve(end: Any, name: str, inputs: Inputs, out: Path) -> None:
    """One measurement, in a process of its own."""
    work = STEPS[name][0](inputs, out)
    end.send(None)
    end.recv()
    began = time.perf_counter()
    result = work()
    end.send((time.perf_counter() - began, result if isinstance(result, int) else None))


def watch(end: Any, pid: int) -> tuple[float, float]:
    """Memory of a process and its family at first, and the most until it tells of its end."""
    end.recv()  # all is imported and open
    first = most = anonymous(processes := family(pid))
    end.send(None)
    looked = time.monotonic()
    while not end.poll(INTERVAL):
        if time.monotonic() - looked > LOOK:
            processes, looked = family(pid), time.monotonic()
        most = max(most, anonymous(processes))
    return first, most


def measure(name: str, inputs: Inputs) -> dict[str, Any]:
    """One step on some rows."""
    context = multiprocessing.get_context("spawn")
    out = Path(tempfile.mkdtemp(dir=inputs.folder))
    near, far = context.Pipe()
    process = context.Process(target=serve, args=(far, name, inputs, out))
    process.start()
    far.close()  # so that a process that fails is heard of
    try:
        first, most = watch(near, process.pid or 0)
        seconds, kept = near.recv()
    except EOFError:
        sys.exit(f"expected {name} to end with {inputs.rows} rows, but it failed: see above")
    finally:
        process.join()
        shutil.rmtree(out)
    found = {"rows": inputs.rows, "seconds": seconds, "start_mib": first, "peak_mib": most}
    return found if kept is None else {**found, "kept": kept}


def slope(rows: Sequence[int], values: Sequence[float]) -> float | None:
    """Exponent of the power law nearest to some points: 1 is linear."""
    return float(np.polyfit(np.log(rows), np.log(values), 1)[0]) if len(rows) > 1 else None


def summary(name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """A step's measurements with their exponents, of time and of growth over the start."""
    rows, times = [each["rows"] for each in found], [each["seconds"] for each in found]
    growth = [max(each["peak_mib"] - each["start_mib"], LEAST) for each in found]
    more = rows[-1] - rows[0]
    return {
        "streaming": name in STREAMING,
        "exponent_seconds": slope(rows, times),
        "exponent_seconds_last": slope(rows[-2:], times[-2:]),  # fixed costs weigh least there
        "exponent_memory": slope(rows, growth),
        "bytes_a_row": 2**20 * (growth[-1] - growth[0]) / more if more else None,
        "measured": found,
    }


def faster(now: list[dict[str, Any]], known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of two measurements of the same rows, the faster: other work on the machine only adds."""
    least: dict[int, dict[str, Any]] = {}
    for each in sorted(now + known, key=lambda each: float(each["seconds"])):
        least.setdefault(each["rows"], each)
    return [least[rows] for rows in sorted(least)]


def show(steps: dict[str, Any]) -> None:
    """Print what was measured."""
    print(f"\n{'':16}{'rows':>10}{'seconds':>10}{'start MiB':>11}{'peak MiB':>10}{'kept':>10}")
    for name, step in steps.items():
        for row in step["measured"]:
            numbers = f"{row['seconds']:10.2f}{row['start_mib']:11.0f}{row['peak_mib']:10.0f}"
            print(f"{name:16}{row['rows']:10,}{numbers}{row.get('kept', ''):>10}")
        facts = {k: round(v, 2) for k, v in step.items() if isinstance(v, float)}
        print("  ", "streaming" if step["streaming"] else "in memory", facts)


def machine() -> dict[str, Any]:
    """What the times are of."""
    packages = ("numpy", "datatrove", "duckdb", "scikit-learn", "tokenizers", "onnxruntime")
    facts = {"processor": processor(), "cores": os.cpu_count(), "python": platform.python_version()}
    return facts | {name: version(name) for name in packages}


def main() -> None:
    """Measure, print, and write the record if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="10000,100000,1000000")
    parser.add_argument("--steps", default=",".join(STEPS), help="names, with commas between")
    parser.add_argument("--out", type=Path, help="record to write")
    parser.add_argument("--mend", type=Path, help="record of the same code to make faster")
    options = parser.parse_args()
    rows, names = sorted(map(int, options.rows.split(","))), options.steps.split(",")
    if unknown := set(names) - STEPS.keys():
        parser.error(f"expected steps among {', '.join(STEPS)}, got {', '.join(unknown)}")
    record = read_json(options.mend) if options.mend else {"steps": {}, "machine": machine()}
    if record["machine"] != machine():
        parser.error(f"expected a record of {machine()}, got one of {record['machine']}")
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for count in rows:
        with tempfile.TemporaryDirectory() as scratch:
            inputs = Inputs(Path(scratch), count)
            for name in dict.fromkeys(file for step in names for file in STEPS[step][1]):
                MAKERS[name](inputs)
            for name in names:
                print(f"{name}, {count:,} rows", file=sys.stderr)
                found[name].append(measure(name, inputs))
    for name, measured in found.items():
        known = record["steps"].get(name, {}).get("measured", [])
        record["steps"][name] = summary(name, faster(measured, known))
    show(record["steps"])
    if path := options.out or options.mend:
        write_json(path, record | {"workers": WORKERS})


if __name__ == "__main__":
    main()
