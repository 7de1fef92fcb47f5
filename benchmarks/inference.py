"""Our inference beside the plain algorithm, same weights, one run: latency, throughput, parity.

The plain side is `plain_search` over the study's graph. Both sides search with the study's settings
(beam 4, optimal stopping) on vectors of the test split. Rounds alternate, so that a busy machine
slows both. Run: ``python benchmarks/inference.py [--out record.json]``; about 25 minutes. Two
models: the release, and the release cut to its first 5,000 tokens, the vocabulary of the study.

``--variants`` measures the release's decoding variants instead (see `variants`): Token F1 and
milliseconds of each; half an hour.
"""

from __future__ import annotations

# First, as onnxruntime reads at its own import that it is to report nothing.
from vec2slug_lib.common.files import read_json, write_json  # isort: skip

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
from machine import least_products, machine, rates, seconds
from plain_search import PlainSearch
from safetensors.numpy import load_file, save_file
from sides import Side, Slugs, beside, sides_of, single_rows, spread
from tqdm import tqdm
from variants import known_qualities, measure_variants

from vec2slug_lib.common.vocabulary import Vocabulary
from vec2slug_lib.data import dataset
from vec2slug_lib.inference.beam_search import search
from vec2slug_lib.inference.predictor import SlugPredictor
from vec2slug_lib.inference.release_folder import DEFAULT_MODEL, ReleaseConfig, graph_path
from vec2slug_lib.inference.steppers import GRAPHS, PLAIN, AheadStepper, CachedStepper, open_session
from vec2slug_lib.release.release import ensure_graphs, export_graphs

ROUNDS = 5
PRECISIONS = ("float32", "int8")
CHILD = """
import sys, time
began = time.perf_counter()
from vec2slug_lib.inference.predictor import SlugPredictor
imported = time.perf_counter()
predictor = SlugPredictor.from_dir(sys.argv[1], sys.argv[2])
loaded = time.perf_counter()
import numpy as np
for _ in predictor.stream(np.load(sys.argv[3], mmap_mode="r")):
    pass
status = open("/proc/self/status").read()
print(imported - began, loaded - imported, int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""


def cut(release: Path, folder: Path, size: int) -> Path:
    """The release with the first ``size`` tokens of its vocabulary, graphs and all."""
    folder.mkdir()
    content = read_json(release / "model.json")
    content["model"]["vocab_size"] = size
    content["vocab"] = {str(i): content["vocab"][str(i)] for i in range(size)}
    write_json(folder / "model.json", content)
    state = load_file(release / "model.safetensors")
    tables = ("token_embedding.weight", "token_embedding.weight.scale", "output_projection.bias")
    for name in tables:
        state[name] = state[name][:size]
    save_file(state, folder / "model.safetensors")
    tokenizer = read_json(release / "tokenizer.json")
    model = tokenizer["model"]
    merges = len(model["merges"]) - (len(model["vocab"]) - size)  # one a token, in order
    model["vocab"] = {token: i for token, i in model["vocab"].items() if i < size}
    model["merges"] = model["merges"][:merges]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    export_graphs(folder)
    return folder


def plain_side(folder: Path) -> Side:
    """The plain side, over a graph without the outputs that it does not read."""
    config = ReleaseConfig.load(folder / "model.json")
    with tempfile.TemporaryDirectory() as scratch:
        small = f"{scratch}/logits.onnx"
        onnx.utils.extract_model(folder / PLAIN, small, ["src_embedding", "token_ids"], ["logits"])
        session = onnxruntime.InferenceSession(small, providers=["CPUExecutionProvider"])
    plain = PlainSearch(config.token_strings, config.decoding)

    def one(vector: np.ndarray) -> tuple[str, float]:
        def forward(sequences: np.ndarray) -> np.ndarray:
            rows = np.repeat(vector[None], len(sequences), axis=0)
            return session.run(None, {"src_embedding": rows, "token_ids": sequences})[0]

        return plain.slugs(forward)[0]

    return lambda vectors: [one(vector) for vector in vectors]


def open_side(folder: Path, name: str, threads: int) -> Side:
    """Open the plain side, or ours in a precision, which searches alone as the plain one does."""
    if name == "plain":
        return plain_side(folder)
    predictor = SlugPredictor.from_dir(folder, name, threads=threads)  # type: ignore[arg-type]
    predictor.config = replace(predictor.config, mbr=None)
    return lambda rows: [tuple(found[0]) for found in predictor.predict_topk(rows, 1)]


def openers_of(folder: Path, threads: int) -> dict[str, Callable[[], Side]]:
    """What opens each side, by name."""
    return {name: partial(open_side, folder, name, threads) for name in ("plain", *PRECISIONS)}


def latency(folder: Path, rows: np.ndarray) -> dict[str, Any]:
    """Single rows, all sides in turn."""
    with sides_of(openers_of(folder, os.cpu_count() or 1)) as sides:
        return beside(single_rows(sides, rows), "plain")


def throughput(folder: Path, rows: np.ndarray, plain_rows: int) -> dict[str, Any]:
    """Rounds that alternate, and how many slugs and scores are the plain side's."""
    times: dict[str, list[float]] = {}
    slugs: dict[str, Slugs] = {}
    with sides_of(openers_of(folder, 1)) as sides:
        for side in sides.values():
            side(rows[:2])
        for part in tqdm(np.array_split(rows, ROUNDS), desc="rounds", unit="round"):
            few = part[: plain_rows // ROUNDS]
            for name, side in sides.items():
                asked = few if name == "plain" else part
                spent, found = side(asked)
                times.setdefault(name, []).append(1000 * spent / len(asked))
                slugs[name] = slugs.get(name, []) + found[: len(few)]
    pairs = list(zip(slugs["plain"], slugs["float32"], strict=True))
    parity = {
        "rows": len(pairs),
        "same_slugs": sum(a[0] == b[0] for a, b in pairs),
        "score_difference": float(max(abs(a[1] - b[1]) for a, b in pairs)),
    }
    return {"throughput": beside(times, "plain"), "parity": parity}


def work_of(folder: Path, config: ReleaseConfig, rows: np.ndarray) -> dict[str, float]:
    """What decoding must do for a document, on its own (calls) or beside others (row-steps)."""
    session = open_session(folder / GRAPHS["int8"], config.shape)
    stepper, alone = (kind(session, config.shape, 4) for kind in (CachedStepper, AheadStepper))
    counted: Counter[str] = Counter()
    step, run = stepper.step, alone._run

    def counting(parents: np.ndarray, tokens: np.ndarray) -> Any:
        counted["rows"] += len(parents)
        return step(parents, tokens)

    def calling(*arguments: Any) -> Any:
        counted["calls"] += 1
        return run(*arguments)

    stepper.step, alone._run = counting, calling  # type: ignore[method-assign]
    found = search(stepper, rows, config.token_strings, config.decoding, 1, 32)
    search(alone, rows[:64], config.token_strings, config.decoding, 1, 1)
    d, vocab = config.shape["embed_dim"], config.shape["vocab_size"]
    blocks = 12 * d * d * config.shape["num_layers"]
    return {
        "row_steps": counted["rows"] / len(rows) + 2,  # the prefix and <bos>
        "steps": float(found.steps.mean()),
        "calls": counted["calls"] / len(rows[:64]),
        "multiply_adds": float(blocks + d * vocab),
    }


def profile(folder: Path, precision: str, rows: np.ndarray) -> dict[str, float]:
    """Seconds a row-step's work by kind of node, and what is not the graph's."""
    config = ReleaseConfig.load(folder / "model.json")
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, tempfile.mkdtemp() + "/profile"
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    options.intra_op_num_threads = 1
    path = graph_path(folder, precision)  # type: ignore[arg-type]
    session = onnxruntime.InferenceSession(path, options)
    stepper = CachedStepper(session, config.shape, 4)
    vocabulary = Vocabulary.of(config.token_strings)
    whole = seconds(lambda: search(stepper, rows, vocabulary, config.decoding, 1, 64))
    events = json.loads(Path(session.end_profiling()).read_text())
    kinds: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
            kinds[event["args"]["op_name"]] += event["dur"] / 1e6
    kinds["search and caches (numpy)"] = whole - sum(kinds.values())
    return {kind: value / whole for kind, value in kinds.most_common()}


def start_and_memory(folder: Path, precision: str, rows: np.ndarray) -> dict[str, Any]:
    """Seconds to import and load, and peak MiB of a process that makes all slugs of ``rows``."""
    with tempfile.TemporaryDirectory() as scratch:
        np.save(f"{scratch}/rows.npy", rows)
        command = [sys.executable, "-c", CHILD, str(folder), precision, f"{scratch}/rows.npy"]
        lines = [subprocess.check_output(command, text=True).split() for _ in range(3)]
    imports, loads, peaks = (list(map(float, column)) for column in zip(*lines, strict=True))
    return {"import": spread(imports), "load": spread(loads), "peak_mib": spread(peaks)}


def measure(folder: Path, data: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Everything about one model."""
    config = ReleaseConfig.load(folder / "model.json")
    test, more = data.part("test"), data.part("val").vectors
    rows = np.concatenate([test.vectors, more])[: options.rows]
    content = {
        "model": config.shape | {"bytes": sizes(folder)},
        "latency": latency(folder, rows[: options.single_rows]),
        **throughput(folder, rows, options.plain_rows),
        "work": work_of(folder, config, rows[:512]),
        "products": least_products(config.shape),
        "profile": {p: profile(folder, p, rows[:256]) for p in PRECISIONS},
        "start": {p: start_and_memory(folder, p, rows[:300]) for p in PRECISIONS},
        "manifest": read_json(folder / "manifest.onnx.json")["graphs"],
    }
    show(folder.name, content)
    return content


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file."""
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}


def show(name: str, content: dict[str, Any]) -> None:
    """Print the main table."""
    print(f"\n{name}: {content['model']['vocab_size']:,} tokens")
    table = pd.DataFrame(
        {
            (kind, side): {
                "ms a slug": found["median"], "low": found["low"], "high": found["high"],
                "times faster": found["ratio"]["median"],
            }
            for kind in ("latency", "throughput")
            for side, found in content[kind].items()
        }
    ).T  # fmt: skip
    print(table.round(2).to_string())
    print("parity:", content["parity"])
    for precision, found in content["start"].items():
        print(precision, {key: round(value["median"], 3) for key, value in found.items()})


def parse() -> argparse.Namespace:
    """Parse the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--release", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--plain-rows", type=int, default=1_000, help="also those of the parity")
    parser.add_argument("--single-rows", type=int, default=40)
    parser.add_argument(
        "--variants", action="store_true", help="the release's decoding variants instead"
    )
    parser.add_argument(
        "--scored-rows", type=int, default=dataset.TEST_ROWS, help="of the variants"
    )
    parser.add_argument("--many-rows", type=int, default=500, help="of the variants")
    parser.add_argument(
        "--keep-quality", action="store_true", help="measure the times in --out anew, no more"
    )
    parser.add_argument("--out", type=Path, help="record to write")
    return parser.parse_args()


def compare_sides(options: argparse.Namespace) -> dict[str, Any]:
    """Measure both models."""
    data = dataset.load()
    with tempfile.TemporaryDirectory() as scratch:
        small = cut(options.release, Path(scratch) / "small", 5_000)
        models = {"small": small, "release": options.release}
        return {
            "machine": machine(), "rows": options.rows, "rounds": ROUNDS, "rates": rates(),
            "models": {name: measure(folder, data, options) for name, folder in models.items()},
        }  # fmt: skip


def compare_variants(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the release's decoding variants, and print their table."""
    known = known_qualities(options.out, options.release) if options.keep_quality else None
    test = dataset.load().test_rows().sample(options.scored_rows)
    rows = (options.single_rows, options.many_rows)
    content = {"machine": machine(), **measure_variants(options.release, test, *rows, known)}
    columns = {
        name: {
            "Token F1": row["token_f1"]["value"], "one, ms": row["one"]["median"],
            "many, ms": row["many"]["median"], "MiB": row["peak_mib"],
        }
        for name, row in content["variants"].items()
    }  # fmt: skip
    print(pd.DataFrame(columns).T.round(3).to_string())
    return content


def main() -> None:
    """Measure, print, and write the record if asked to."""
    options = parse()
    ensure_graphs(options.release)
    content = compare_variants(options) if options.variants else compare_sides(options)
    if options.out:
        write_json(options.out, content)


if __name__ == "__main__":
    main()
