"""Vectors as tools, stores and services write them: the same rows in every kind of file."""

import base64
import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy

from vec2slug_lib.inference import vector_arrays, vector_source, vector_tables

ROWS = np.random.default_rng(0).normal(size=(9, 24)).astype(np.float32)
LISTS = ROWS.tolist()
IDS = [f"page-{i}" for i in range(9)]
BRACKETS = [json.dumps(row) for row in LISTS]


def set_block(monkeypatch, rows):
    """Read blocks of so many rows."""
    for module in (vector_source, vector_arrays, vector_tables):
        monkeypatch.setattr(module, "BLOCK", rows)


def joined(blocks):
    """Ids and vectors of all blocks."""
    named = blocks[0].ids is not None
    assert all((block.ids is not None) == named for block in blocks)
    assert not named or all(len(block.ids) == len(block.vectors) for block in blocks)
    ids = [key for block in blocks for key in block.ids] if named else None
    return ids, np.concatenate([block.vectors for block in blocks])


def saved(save, *values, **named):
    """What a function of numpy writes, as bytes."""
    file = io.BytesIO()
    save(file, *values, **named)
    return file.getvalue()


def table(**columns):
    return pa.table(columns)


def written(save, content):
    sink = io.BytesIO()
    save(content, sink)
    return sink.getvalue()


def arrow(new, content):
    sink = io.BytesIO()
    with new(sink, content.schema) as writer:
        writer.write_table(content, max_chunksize=4)
    return sink.getvalue()


def answer(rows, first=0):
    data = [{"object": "embedding", "index": first + i, "embedding": r} for i, r in enumerate(rows)]
    return {"object": "list", "data": data, "model": "m", "usage": {"total_tokens": 3}}


def csv_of(frame, **options):
    return frame.to_csv(**options)


def records(key):
    return [{"id": i, key: row} for i, row in zip(IDS, LISTS, strict=True)]


def lines(values, end="\n"):
    return end.join(map(json.dumps, values))


PGVECTOR = [row.replace(" ", "") for row in BRACKETS]
FIXED = pa.FixedSizeListArray.from_arrays(pa.array(ROWS.ravel()), 24)
TENSOR = pa.FixedShapeTensorArray.from_numpy_ndarray(ROWS)
FRAME = pd.DataFrame(ROWS)
NAMED = FRAME.add_prefix("dim_")

READ = {
    "npy": saved(np.save, ROWS),
    "npy big-endian": saved(np.save, ROWS.astype(">f4")),
    "npy float64": saved(np.save, ROWS.astype(np.float64)),
    "npy Fortran": saved(np.save, np.asfortranarray(ROWS)),
    "npz of one": saved(np.savez, ROWS),
    "npz with names": saved(np.savez_compressed, ids=np.array(IDS), vectors=ROWS),
    "npz with objects beside": saved(np.savez, ids=np.array(IDS, object), vectors=ROWS),
    "parquet": written(pq.write_table, table(id=IDS, embedding=LISTS, n=range(9))),
    "parquet fixed": written(pq.write_table, table(v=FIXED)),
    "parquet tensor": written(pq.write_table, table(v=TENSOR)),
    "Arrow file": arrow(pa.ipc.new_file, table(id=IDS, v=LISTS)),
    "Arrow stream": arrow(pa.ipc.new_stream, table(v=FIXED)),
    "JSON lists": json.dumps(LISTS),
    "JSON pretty": json.dumps(LISTS, indent=1),
    "JSON objects": json.dumps(records("vector"), indent=2),
    "JSON lines of lists": "\n".join(BRACKETS) + "\n",
    "JSON lines": lines(records("embedding")),
    "JSON lines, other key": lines(records("minilm"), "\n\n"),
    "JSON lines, long": lines([{**r, "text": "a text " * 9_999} for r in records("v")]),
    "JSON lines, decoys": lines(
        {**r, "value": 3.5, "fields": ["x"], "metadata": {"embedding": 384, "data": "x"}}
        for r in records("minilm")
    ),
    "JSON lines, strings": "\n".join(json.dumps({"embedding": r}) for r in BRACKETS),
    "JSON lines, CRLF, BOM": "\ufeff" + "\r\n".join(json.dumps({"vector": r}) for r in LISTS),
    "OpenAI": json.dumps(answer(LISTS)),
    "OpenAI pretty": json.dumps(answer(LISTS), indent=4),
    "OpenAI base64": json.dumps(answer([base64.b64encode(r).decode() for r in ROWS])),
    "OpenAI batch": "\n".join(
        json.dumps({"custom_id": str(i), "response": {"body": answer(LISTS[i : i + 3], i)}})
        for i in (0, 3, 6)
    ),
    "Ollama": json.dumps({"model": "m", "embeddings": LISTS}),
    "Cohere": json.dumps({"id": "1", "embeddings": {"float": LISTS}}),
    "Qdrant": json.dumps({"result": {"points": records("vector"), "next_page_offset": None}}),
    "Qdrant, named": lines({"id": i, "vector": {"t": r}} for i, r in zip(IDS, LISTS, strict=True)),
    "Pinecone fetch": json.dumps({"vectors": {r["id"]: r for r in records("values")}}),
    "Pinecone query": json.dumps({"matches": records("values"), "namespace": ""}),
    "Chroma": json.dumps({"ids": IDS, "embeddings": LISTS, "documents": IDS, "metadatas": None}),
    "Weaviate": json.dumps([
        {"uuid": i, "properties": {"n": 1}, "vector": {"default": r}}
        for i, r in zip(IDS, LISTS, strict=True)
    ]),
    "Elasticsearch": json.dumps({"took": 1, "hits": {"total": {"value": 9}, "hits": [
        {"_index": "x", "_id": i, "_score": 1.0, "_source": {"title": i, "title_vector": r}}
        for i, r in zip(IDS, LISTS, strict=True)
    ]}}),
    "elasticdump": lines(
        {"_index": "x", "_id": i, "_source": {"embedding": r}}
        for i, r in zip(IDS, LISTS, strict=True)
    ),
    "MongoDB": lines(
        {"_id": {"$oid": i}, "plot_embedding": r} for i, r in zip(IDS, LISTS, strict=True)
    ),
    "Milvus": json.dumps({"code": 0, "data": records("vector")}),
    "Vespa": lines(
        {"id": i, "fields": {"embedding": {"type": "tensor<float>(x[24])", "values": r}}}
        for i, r in zip(IDS, LISTS, strict=True)
    ),
    "Meilisearch": json.dumps({"results": [
        {"id": i, "_vectors": {"default": {"embeddings": [r], "regenerate": False}}}
        for i, r in zip(IDS, LISTS, strict=True)
    ], "offset": 0}),
    "Azure AI Search": json.dumps({"@odata.count": 9, "value": records("contentVector")}),
    "Vertex AI": json.dumps({"predictions": [{"embeddings": {"values": r}} for r in LISTS]}),
    "JSON by name": json.dumps(dict(zip(IDS, LISTS, strict=True))),
    "JSON by name, pretty": json.dumps(dict(zip(IDS, LISTS, strict=True)), indent=2),
    "JSON of pandas": pd.DataFrame({"embedding": LISTS}).to_json(double_precision=15),
    "pgvector": "\n".join(PGVECTOR) + "\n",
    "pgvector COPY": "".join(f"{i}\t{row}\n" for i, row in enumerate(PGVECTOR)),
    "pgvector CSV": 'id,embedding\n' + "".join(f'{i},"{r}"\n' for i, r in enumerate(PGVECTOR)),
    "CSV of lists": csv_of(pd.DataFrame({"id": IDS, "text": IDS, "v": LISTS}), index=False),
    "Postgres array": "\n".join("{" + row[1:-1] + "}" for row in PGVECTOR),
    "CSV of str(array)": csv_of(pd.DataFrame({"t": IDS, "v": [str(r) for r in ROWS.round(3)]})),
    "CSV": csv_of(FRAME, index=False, header=False),
    "CSV numbered": csv_of(FRAME, index=False),
    "CSV of pandas": csv_of(FRAME),
    "CSV header": csv_of(NAMED, index=False),
    "CSV header, index": csv_of(NAMED),
    "CSV labels": csv_of(FRAME.set_axis(IDS), header=False),
    "CSV labels, header": csv_of(NAMED.assign(slug=IDS)),
    "TSV": csv_of(FRAME, sep="\t", index=False, header=False),
    "semicolons": csv_of(FRAME, sep=";", index=False, header=False),
    "savetxt": saved(np.savetxt, ROWS, header="vectors of pages"),
    "GloVe": "".join(f"{i} {' '.join(map(str, r))}\n" for i, r in zip(IDS, LISTS, strict=True)),
    "R": saved(lambda f, _: f.write(csv_of(FRAME.set_axis(IDS), sep=" ")[1:].encode()), None),
    "safetensors": safetensors.numpy.save({"v": ROWS}, metadata={"format": "np"}),
    "safetensors F64": safetensors.numpy.save({"v": ROWS.astype(np.float64)}),
    "UTF-16": "\n".join(BRACKETS).encode("utf-16"),
}  # fmt: skip

NUMBERS = [str(row) for row in range(9)]
NAMES = dict.fromkeys([
    "npz with names", "parquet", "Arrow file", "JSON objects", "JSON lines",
    "JSON lines, other key", "JSON lines, long", "JSON lines, decoys", "Qdrant", "Qdrant, named",
    "Pinecone fetch", "Pinecone query", "Chroma", "Weaviate", "Elasticsearch", "elasticdump",
    "MongoDB", "Milvus", "Vespa", "Meilisearch", "Azure AI Search", "JSON by name",
    "JSON by name, pretty", "CSV of lists", "CSV labels", "GloVe", "R",
], IDS) | dict.fromkeys(["JSON of pandas", "pgvector COPY", "pgvector CSV"], NUMBERS)  # fmt: skip
