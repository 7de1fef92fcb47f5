"""Commands of ``vec2slug`` for the study's own corpora: paper, feasibility."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .options import (
    add_chat,
    add_embedder,
    ask_chat,
    consent,
    counting_tokenizer,
    embed_file,
    is_local,
    open_as_asked,
    open_chat,
)


def paper(argv: Sequence[str]) -> int:
    """Make the study anew: documents, vectors, data, models; run again, it goes on."""
    options = paper_options(argv)
    from ..experiments.paper import Paper, check, make_corpus, make_data, make_model, write_report

    job = Paper(options.source, options.out, options.preset, options.experiments.split(","))
    check(job)
    tokenizer = counting_tokenizer(options.tokenizer)
    tell(1, f"filtering {options.source}")
    steps = make_corpus(job, tokenizer, options.workers)
    tell(2, f"embedding {steps[-1]['kept']:,} documents")
    batch = not options.direct and not is_local(options.embedder)
    if not embed_file(options, job.documents, job.vectors, batch):
        return 1
    tell(3, "vectors, splits and cards")
    card = make_data(job, open_as_asked(options), options.pairs)
    models = []
    for name in job.experiments:
        tell(4, f"training, evaluating and releasing {name}")
        models.append(make_model(job, name))
    for model in models:
        f1, reported = model["metrics"]["token_f1"], model["reported_token_f1"]
        interval = f"[{f1['low']:.3f}, {f1['high']:.3f}]"
        print(f"{model['experiment']}  Token F1 {f1['value']:.3f} {interval}, reported {reported}")
    print(f"{card['pairs']:,} pairs; all of it is in {write_report(job, steps, card, models)}")
    return 0


def tell(stage: int, what: str) -> None:
    """Say on stderr which stage begins."""
    print(f"== {stage} of 4: {what}", file=sys.stderr)


def paper_options(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the options of :func:`paper`."""
    parser = argparse.ArgumentParser("vec2slug paper", description=paper.__doc__)
    parser.add_argument("--source", default="fineweb-edu", help="as for vec2slug corpus build")
    parser.add_argument("--out", type=Path, default=Path("work/paper"))
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json that counts tokens")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--pairs", type=int, help="of those that pass the filters; default: all")
    add_embedder(parser, default="openai")
    parser.add_argument("--direct", action="store_true", help="not by the Batch API: twice as dear")
    parser.add_argument("--experiments", default="3i,3j", help="of the study's decoders")
    parser.add_argument("--preset", default="paper", help="budget; smoke rehearses it in minutes")
    return parser.parse_args(argv)


def feasibility(argv: Sequence[str]) -> int:
    """Make a corpus of documents of several sources, with slugs by a chat model."""
    options = feasibility_options(argv)
    from ..evaluation.llm_baseline import highest_price, unanswered
    from ..experiments.feasibility import draw, finish, shares

    tokenizer = counting_tokenizer(options.tokenizer)
    frame = draw(shares(options.take), tokenizer, options.out / "drawn.parquet")
    chat = open_chat(options.chat, options)
    written, prices = options.out / "answers.jsonl", (options.input_price, options.output_price)
    names, texts = frame["id"].tolist(), frame["text"].tolist()
    rows = unanswered(chat, names, texts, written)
    most = highest_price(frame["token_count"].iloc[rows].tolist(), *prices, chat.answer_tokens)
    cost = f"{len(rows):,} pages for {options.chat}: at most about {most:.2f} dollars"
    if rows and not consent(cost, options.yes):
        return 1
    answers = ask_chat(chat, names, texts, written, options.skip_bad)
    report = finish(frame, answers, prices, options.out)
    for name, source in report["sources"].items():
        print(f"{name:24} {source['documents']:6,} documents, {source['valid']:.1%} valid")
    print(f"{report['valid']:.1%} valid, {report['dollars']:.2f} dollars; in {options.out}")
    return 0


def feasibility_options(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the options of :func:`feasibility`."""
    parser = argparse.ArgumentParser("vec2slug feasibility", description=feasibility.__doc__)
    what = "source=number; the study took 5,000 of fineweb-edu, 2,500 of arXiv and of GitHub issues"
    parser.add_argument("--take", action="append", default=[], metavar="SOURCE=NUMBER", help=what)
    parser.add_argument("--chat", required=True, help="chat model, as the server knows it")
    parser.add_argument("--out", type=Path, default=Path("work/feasibility"))
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json that counts tokens")
    add_chat(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask before it costs anything")
    return parser.parse_args(argv)
