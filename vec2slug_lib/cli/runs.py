"""Commands of ``vec2slug`` that make runs: train, export, baseline, sweep."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..common.errors import Vec2SlugError
from ..common.workspace import current
from .door import naming
from .options import add_chat, ask_chat, make_graphs, open_chat, progress_bar, read_documents


def train(argv: Sequence[str]) -> int:
    """Train experiments: ``vec2slug train EXPERIMENT`` or ``vec2slug train --all``, in a preset.

    Started by `torchrun`, it trains one experiment on all processes.
    """
    options = train_options(argv)
    from ..experiments.baseline_runs import is_baseline
    from ..experiments.run import record
    from ..experiments.table import EXPERIMENTS
    from ..experiments.train_many import train_many
    from ..training import distributed

    names = list(EXPERIMENTS) if options.all else options.experiments
    if options.corpus:
        from ..experiments.wide_corpus import make_wide_corpus

        make_wide_corpus(options.corpus, options.jobs)
    retrain = options.retrain and len(names) == 1
    if distributed.launched():
        if not train_together(names, options.preset, retrain):
            return 0
        retrain = False
    elif len(names) > 1:
        trained = [name for name in names if not is_baseline(name)]
        train_many(trained, options.preset, options.retrain, options.jobs)
    for name in names:
        run = record(name, options.preset, retrain or (options.retrain and is_baseline(name)))
        print(name)
        for metric, value in run.metrics.items():
            print(f"  {metric:20} {value['value']:.3f}  [{value['low']:.3f}, {value['high']:.3f}]")
    return 0


def train_options(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the options of :func:`train`."""
    parser = argparse.ArgumentParser("vec2slug train")
    known = "ids in the table, such as 3i, or 3h+max_slug_tokens=16; or a baseline, such as vote"
    parser.add_argument("experiments", nargs="*", help=known)
    parser.add_argument("--all", action="store_true", help="every experiment of the table")
    parser.add_argument("--preset", default="book")
    wide = "more pages, for experiments that take them: filtered and embedded first, resumable"
    parser.add_argument("--corpus", help=wide)
    parser.add_argument("--retrain", action="store_true", help="even if the record is there")
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side")
    options = parser.parse_args(argv)
    if bool(options.experiments) == options.all:
        raise Vec2SlugError("expected experiments or --all, such as: vec2slug train 3i")
    return options


def train_together(names: Sequence[str], preset: str, retrain: bool) -> bool:
    """Train on all ranks, if the record is missing; tell whether this one is to score the model.

    Raises:
        Vec2SlugError: several experiments, or unknown ones.
    """
    from ..evaluation.records import Run
    from ..experiments.run import trained
    from ..experiments.table import PRESETS, find, find_experiment
    from ..training import distributed

    if len(names) > 1:
        raise Vec2SlugError(
            f"expected one experiment under torchrun, got {len(names)}: "
            "without it, several are trained in processes of their own"
        )
    find_experiment(names[0])
    find(PRESETS, "preset", preset)
    with distributed.group():
        if distributed.agree(retrain or not Run(current().runs / names[0] / preset).complete):
            trained(names[0], preset, retrain)
        return distributed.rank() == 0


def export(argv: Sequence[str]) -> int:
    """Release a run: ``vec2slug export RUN FOLDER``; or make the graphs of a release anew."""
    parser = argparse.ArgumentParser("vec2slug export")
    parser.add_argument("run", nargs="?", help="experiment whose trained run is released")
    parser.add_argument("folder", type=Path, help="release folder; alone, its graphs are made anew")
    parser.add_argument("--preset", default="book")
    parser.add_argument("--texts", type=Path, help="corpus: fit the model of words in texts to it")
    options = parser.parse_args(argv)
    from ..evaluation.records import open_run
    from ..experiments.table import find_experiment
    from ..release.release import export_graphs, export_release

    if options.run:
        pretrained = bool(find_experiment(options.run).pretrain)
        export_release(open_run(options.run, options.preset), options.folder, pretrained)
    manifest = export_graphs(options.folder)
    for name, graph in manifest["graphs"].items():
        size, difference = graph["bytes"] / 1e6, graph["max_difference"]
        agreement = f"{graph['argmax_agreement']:.2%} of the argmaxes"
        print(f"{name:22} {size:6.1f} MB, within {difference:.1e} of torch, {agreement}")
    if options.texts:
        from ..experiments.text_model import write_text_model

        write_text_model(options.folder, options.texts)
    print(f"released in {options.folder}")
    return 0


def baseline(argv: Sequence[str]) -> int:
    """Ask a chat model for slugs, resumable: ``vec2slug baseline llm DOCUMENTS --model NAME``."""
    parser = argparse.ArgumentParser("vec2slug baseline")
    parser.add_argument("kind", choices=["llm"])
    parser.add_argument("documents", type=Path, help="parquet with id and text, perhaps slug")
    parser.add_argument("--model", required=True, help="chat model, as the server knows it")
    parser.add_argument("--rows", type=int, default=200, help="pages to ask for, the first ones")
    parser.add_argument("--out", type=Path, default=Path("work/llm.jsonl"))
    add_chat(parser)
    options = parser.parse_args(argv)
    from ..evaluation.intervals import summarise
    from ..evaluation.llm_baseline import summary
    from ..evaluation.metrics import token_overlap

    frame = read_documents(options.documents, "slug").head(options.rows)
    chat = open_chat(options.model, options)
    names, texts = frame["id"].astype(str).tolist(), frame["text"].tolist()
    answers = ask_chat(chat, names, texts, options.out, options.skip_bad)
    for name, value in summary(answers, options.input_price, options.output_price).items():
        print(f"{name:22} {value:10.4f}")
    if "slug" in frame:
        f1 = token_overlap([answer.slug for answer in answers], frame["slug"].tolist())[2]
        mean = summarise({"token_f1": f1}, range(len(f1)))["token_f1"]
        interval = f"[{mean['low']:.3f}, {mean['high']:.3f}] over pages"
        print(f"{'token_f1':22} {mean['value']:10.4f}  {interval}")
    return 0


def sweep(argv: Sequence[str]) -> int:
    """Run a notebook over a grid: ``vec2slug sweep NOTEBOOK -p name=value,value ...``."""
    from tqdm import tqdm

    from ..common.parallel import ray_tasks
    from ..experiments import sweep

    parser = argparse.ArgumentParser("vec2slug sweep", description=sweep.__doc__)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("-p", action="append", default=[], dest="grid", metavar="NAME=VALUE,…")
    parser.add_argument("--jobs", type=int, help="notebooks that run at a time here; default: 1")
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--address", help="of a Ray cluster, or auto; default: one is started here")
    where = "default: sweeps/NOTEBOOK; goes on with what is there"
    parser.add_argument("--out", type=Path, help=where)
    options = parser.parse_args(argv)
    if options.engine == "ray" and options.jobs is not None:
        raise Vec2SlugError("expected no --jobs beside --engine ray, which runs a notebook a CPU")
    jobs = 1 if options.jobs is None else options.jobs
    engine = ray_tasks(options.address) if options.engine == "ray" else None
    out = options.out or Path("sweeps") / options.notebook.stem
    cells = sweep.grid(options.grid)
    with tqdm(total=len(cells), unit="cell", disable=None) as bar:
        outcome = sweep.sweep(options.notebook, cells, out, jobs, bar.update, engine)
    for name, message in outcome.failed.items():
        print(f"vec2slug: {name} failed: {message}", file=sys.stderr)
    print(f"{len(outcome.table)} of {len(cells)} cells in {out / 'sweep.parquet'}")
    return 1 if outcome.failed else 0


def generate(argv: Sequence[str]) -> int:
    """Make slugs of the vectors in parquet files, here or on a Ray cluster.

    The folders of the vectors, the slugs and the model are on a file system that all nodes share,
    and vec2slug is installed on each.
    """
    from ..common.parallel import cores_each, processes, ray_data
    from ..inference.bulk import SlugJob, write_slug_tables

    options = generate_options(argv)
    if options.engine == "ray":
        engine, workers = ray_data(options.address, options.jobs), 1
    else:
        jobs = options.jobs or 1
        engine, workers = processes(jobs), cores_each(jobs)
    make_graphs(options.model, options.precision)
    job = SlugJob.claim(
        options.input, options.out, options.model, options.precision, options.column, workers,
        options.skip_bad, options.text_column, options.vector_only,
    )  # fmt: skip
    files = job.files()
    if texts := job.with_texts(files):
        told = f"vec2slug: texts count beside the vectors in {len(texts)} of {len(files)} files"
        print(f"{told}; --vector-only leaves them out", file=sys.stderr)
    with naming(options.input), progress_bar(sum(files.values())) as bar:
        skipped = write_slug_tables(job, files, engine, bar.update)
    if skipped:
        where = options.out / "skipped.jsonl"
        print(f"vec2slug: skipped {len(skipped)} rows or files, listed in {where}", file=sys.stderr)
    rows = sum(files.values())
    for line in skipped:
        rows -= files[line["file"]] if line["row"] is None else 1
    print(f"{rows} slugs of {len(files)} files in {options.out}")
    return 0


def generate_options(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the options of :func:`generate`."""
    from ..inference.release_folder import DEFAULT_MODEL

    parser = argparse.ArgumentParser("vec2slug generate", description=generate.__doc__)
    parser.add_argument("input", type=Path, help="parquet file, or a folder of them")
    where = "folder of one file of slugs for each of vectors; goes on with what is there"
    parser.add_argument("--out", type=Path, required=True, help=where)
    parser.add_argument("--column", default="embedding", help="of the vectors: lists of numbers")
    texts = parser.add_mutually_exclusive_group()
    texts.add_argument(
        "--text-column", default="", help="of texts, beside the vectors; default: text, if there"
    )
    texts.add_argument(
        "--vector-only", action="store_true", help="texts count by their vectors alone"
    )
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, help="release folder")
    parser.add_argument("--precision", choices=("float32", "int8"), default="float32")
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--address", help="of a Ray cluster, or auto; default: one is started here")
    parser.add_argument(
        "--jobs", type=int, help="files at a time; default: 1, or with Ray one a CPU"
    )
    parser.add_argument("--skip-bad", action="store_true", help="go on past bad rows and files")
    options = parser.parse_args(argv)
    if options.jobs is not None and options.jobs < 1:
        raise Vec2SlugError(f"expected --jobs of 1 or more, got {options.jobs}")
    return options
