"""Vectors in the columns of parquet and Arrow files, read by pyarrow a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc

from ..common.errors import Vec2SlugError
from ..common.parquet import open_parquet
from ..common.vectors import Array
from .vector_source import BLOCK, Blocks, VectorSource, guessed_id, id_text, wrong_width

LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def read_parquet(source: VectorSource) -> Blocks:
    """Read a column of lists of a parquet file."""
    with source.in_memory() as stream, open_parquet(stream) as file:
        source.rows = file.metadata.num_rows
        column, key = _chosen(source, file.schema_arrow)
        batches = file.iter_batches(BLOCK, columns=[name for name in (column, key) if name])
        yield from _blocks(source, batches, column, key)


def read_arrow_file(source: VectorSource) -> Blocks:
    """Read a column of lists of an Arrow file, which Feather is too."""
    with pa.memory_map(str(source.path)) if source.path else source.in_memory() as stream:
        file = pa.ipc.open_file(stream)
        source.rows = file.count_rows()
        column, key = _chosen(source, file.schema)
        batches = (file.get_batch(number) for number in range(file.num_record_batches))
        yield from _blocks(source, batches, column, key)


def read_arrow_stream(source: VectorSource) -> Blocks:
    """Read a column of lists of Arrow batches, one behind the other."""
    batches = pa.ipc.open_stream(source.stream)
    yield from _blocks(source, batches, *_chosen(source, batches.schema))


def _chosen(source: VectorSource, schema: pa.Schema) -> tuple[str, str | None]:
    """Choose the column of vectors, and that of ids, of different names."""
    lists = {name: kind for name in schema.names if (kind := _numbers(schema, name))}
    floats = [name for name, kind in lists.items() if pa.types.is_floating(kind)]
    vectors = list(lists) if source.column else floats or list(lists)
    scalars = [field.name for field in schema if not pa.types.is_nested(field.type)]
    names = {name: name for name in schema.names}
    return source.choose("column", names, vectors, guessed_id(scalars))


def _numbers(schema: pa.Schema, name: str) -> Any:
    """Return of what numbers the lists of a column are; None if it is of something else."""
    if schema.names.count(name) > 1:
        return None  # nor does pyarrow know which is meant
    kind = schema.field(name).type
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    value = kind.value_type if any(of(kind) for of in LISTS) else pa.null()
    return value if pa.types.is_floating(value) or pa.types.is_integer(value) else None


def _blocks(
    source: VectorSource, batches: Iterable[pa.RecordBatch], column: str, key: str | None
) -> Blocks:
    """Make blocks of the rows of batches, which may be longer."""
    first = width = 0
    for whole in batches:
        whole.select([name for name in (column, key) if name]).validate(full=True)
        for start in range(0, len(whole), BLOCK):
            batch = whole.slice(start, BLOCK)
            lists = batch.column(column)
            lists = lists.storage if isinstance(lists, pa.ExtensionArray) else lists
            lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
            if not (width := width or int(lengths[0])):
                raise Vec2SlugError(f"but row 0 {wrong_width(0, 0)}")
            ids = [id_text(value) for value in batch.column(key).to_pylist()] if key else None
            wrong = {row: wrong_width(int(n), width) for row, n in enumerate(lengths) if n != width}
            yield source.block(first, ids, _vectors(lists, lengths == width, width), wrong)
            if source.stops:
                return
            first += len(batch)
    if not first:
        raise Vec2SlugError("got a table without a row")


def _vectors(lists: pa.Array, right: Array, width: int) -> Array:
    """Return the numbers ``[n, width]`` of lists, zero where one has another length."""
    if right.all():
        return np.asarray(lists.flatten().to_numpy(zero_copy_only=False)).reshape(-1, width)
    numbers = lists.filter(pa.array(right)).flatten().to_numpy(zero_copy_only=False)
    vectors = np.zeros((len(lists), width), numbers.dtype)
    vectors[right] = numbers.reshape(-1, width)
    return vectors
