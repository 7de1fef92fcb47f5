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

| metric, {rows:,} held-out documents | value | 95 % interval |
|---|---|---|
{metrics}

Best validation loss {best_val_loss:.3f} at step {best_step:,}; seed {seed}.

## Use
```python
from vec2slug_lib import SlugPredictor

SlugPredictor.from_dir("{name}").predict(vectors)  # precision="int8" is faster
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

EXPECTED = "A candidate's score is the Token F1 to expect of it, from 0 to 1."
LOG_PROBABILITY = "A candidate's score is its log probability with the search's rewards."


def model_card(name: str, run: Run, pretrained: bool = False) -> str:
    """Write the model card of a release, its numbers from the run's record."""
    manifest, metrics = run.manifest, run.metrics
    score = EXPECTED if manifest["model"].get("head_dim") else LOG_PROBABILITY
    rows = [
        f"| {metric.replace('_', ' ')} | {m['value']:.3f} | {m['low']:.3f} to {m['high']:.3f} |"
        for metric, m in metrics.items()
    ]
    return CARD.format(
        name=name,
        embedder=full_name(run.embedder),
        rows=len(run.predictions),
        metrics="\n".join(rows),
        train_rows=manifest["train_rows"],
        best_val_loss=manifest["result"]["best_val_loss"],
        best_step=manifest["result"]["best_step"],
        seed=manifest["training"]["seed"],
        spans=", after short spans of text" if pretrained else "",
        score=score,
        **manifest["model"],
    )
