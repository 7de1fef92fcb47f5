"""The model card of a release: a template, filled from the records."""

from __future__ import annotations

from ..embedding.registry import full_name
from ..evaluation.records import Run

CARD = """---
license: mit
language: en
library_name: onnxruntime
tags: [slug-generation, embedding-to-text]
---
# {name}

URL slugs from `{embedder}` text embeddings ({input_dim} values a text). A prefix decoder,
{num_layers} layers of width {embed_dim}, trained on {train_rows:,} vector-slug pairs whose slugs
come from real URLs{spans}. Weights are int8 with one scale a row.
Part of the vec2slug book, which tells how it was made and measured.

| metric, {rows:,} held-out documents | value | 95 % interval over {topics} topics |
|---|---|---|
{metrics}

{decoding}

Best validation loss {best_val_loss:.3f} at step {best_step:,}; seed {seed}.

## Use
```python
from vec2slug_lib import SlugPredictor{imported}

SlugPredictor.from_dir("{name}").predict(vectors)  # numpy and onnxruntime alone{reranked}
```

```console
$ python inference.py --input vectors.npy  # numpy and onnxruntime alone
```

{score}

`model.onnx` is the whole forward pass, from `src_embedding` and `token_ids` to `logits`;
`model_cached.onnx` and `model_quantized.onnx` hold one step with a cache, in float32 and int8.

## Limits
Only for vectors of `{embedder}`. English; kinds of text that it was not trained on get
vaguer slugs. The usual error is a slug that names the topic and misses the particular; the book's
evaluation page sets it beside simple baselines.
"""

IMPORTED = ", open_embedder"
RERANKED = """

# With the embedder it re-ranks, as for the table above and as the command line does.
SlugPredictor.from_dir("{name}", embedder=open_embedder("{key}")).predict(vectors)"""
MBR = """These slugs are of {weights}, and decoded as the command `vec2slug`
decodes vectors: minimum Bayes risk, candidates re-ranked by embedding similarity. `predict`
without an embedder and `inference.py` do not re-rank. The book's chapter on the release has one
table with quality and speed of the rounded weights, decoded each way."""
SEARCH = "These slugs are of {weights}, by the search alone, as all here decodes."
# What a record was made of, by the key ``weights`` of its manifest.
WEIGHTS = {
    "": "the weights before they were rounded to int8",
    "int8": "the weights as they are here",
}
EXPECTED = "A candidate's score is the Token F1 to expect of it, from 0 to 1."
LOG_PROBABILITY = "A candidate's score is its log probability with the search's rewards."


def model_card(name: str, run: Run, pretrained: bool = False) -> str:
    """Write the model card of a release, its numbers from the run's record."""
    manifest, metrics, predictions = run.manifest, run.metrics, run.predictions
    headed = bool(manifest["model"].get("head_dim"))
    rows = [
        f"| {metric.replace('_', ' ')} | {m['value']:.3f} | {m['low']:.3f} to {m['high']:.3f} |"
        for metric, m in metrics.items()
    ]
    return CARD.format(
        name=name,
        embedder=full_name(run.embedder),
        rows=len(predictions),
        topics=predictions["topic"].nunique(),
        metrics="\n".join(rows),
        train_rows=manifest["train_rows"],
        best_val_loss=manifest["result"]["best_val_loss"],
        best_step=manifest["result"]["best_step"],
        seed=manifest["training"]["seed"],
        spans=", after short spans of text" if pretrained else "",
        decoding=(MBR if headed else SEARCH).format(weights=WEIGHTS[manifest.get("weights", "")]),
        imported=IMPORTED if headed else "",
        reranked=RERANKED.format(name=name, key=run.embedder) if headed else "",
        score=EXPECTED if headed else LOG_PROBABILITY,
        **manifest["model"],
    )
