"""The rows that are labelled together: chunks of the input, of this shard of it.

In: pieces of the input in order. Out: `Window`s, each of which is scored at once and becomes durable at once. Where
they end depends on the input, the shard and the limit alone, not on where reading began.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from secondcoder.labelling.inputs import START, Cursor, Placed

CHUNK_ROWS = 4096  # scored at once: sorting by length needs many, memory and what a kill costs want few
CHUNK_BYTES = 1 << 26
SHARD_ROWS = 256  # so many rows go to one shard, the next to the next: all shards get rows of all of the input


@dataclass
class Chunk:
    """Rows that follow each other in one shard of the input.

    Attributes
    ----------
    batches
        The rows.
    rejected
        Records among them that are no rows, as plain JSON values.
    end
        Where the input goes on.
    """

    batches: list[pa.RecordBatch] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    end: Cursor = START
    size: int = 0

    @property
    def n_records(self) -> int:
        """Rows and what is none."""
        n_rows: int = sum(batch.num_rows for batch in self.batches)
        return n_rows + len(self.rejected)

    def add(self, batch: pa.RecordBatch, rejected: list[dict[str, Any]]) -> None:
        """Append what comes next."""
        self.batches.append(batch)
        self.rejected += rejected
        self.size += size_of(batch, rejected)

    def rows(self) -> pa.RecordBatch:
        """Return the rows in one piece."""
        if len(self.batches) > 1:
            self.batches = [pa.concat_batches(self.batches)]
        return self.batches[0]


def size_of(batch: pa.RecordBatch, rejected: list[dict[str, Any]]) -> int:
    """Return about how many bytes it takes."""
    return int(batch.nbytes) + sum(len(record["raw"]) for record in rejected)


def chunks(pieces: Iterable[Placed], share: tuple[int, int] = (1, 1), limit: int | None = None) -> Iterator[Chunk]:
    """Yield what belongs to this share, at most `CHUNK_ROWS` records or about `CHUNK_BYTES` at a time.

    Parameters
    ----------
    pieces
        Pieces in order, none of more than `CHUNK_ROWS` records.
    share
        Which share, from 1, and of how many.
    limit
        Rows of the whole input from here on belong to no share.
    """
    chunk = Chunk()
    for placed in pieces:
        if limit is not None and placed.start.rows >= limit:
            break
        batch, rejected = _belonging(placed, share, limit)
        if not (batch.num_rows or rejected):
            continue
        n = batch.num_rows + len(rejected)
        if chunk.batches and (chunk.n_records + n > CHUNK_ROWS or chunk.size + size_of(batch, rejected) > CHUNK_BYTES):
            yield chunk
            chunk = Chunk()
        chunk.add(batch, rejected)
        chunk.end = placed.end
    if chunk.batches:
        yield chunk


def rows_of_share(total: int, share: tuple[int, int]) -> int:
    """Return how many of so many rows belong to a share."""
    number, of = share
    whole, rest = divmod(total, SHARD_ROWS)
    blocks = (whole - number) // of + 1 if whole >= number else 0
    return blocks * SHARD_ROWS + (rest if whole % of == number - 1 else 0)


def _belonging(
    placed: Placed, share: tuple[int, int], limit: int | None
) -> tuple[pa.RecordBatch, list[dict[str, Any]]]:
    """Return the rows and rejected records of a piece that belong to a share."""
    batch, rejected = placed.piece.batch, list(placed.piece.rejected)
    first = placed.start.rows
    if limit is not None and first + batch.num_rows > limit:
        batch = batch.slice(0, limit - first)
        rejected = [record for record in rejected if first + record.at < limit]
    number, of = share
    if of > 1:
        mine = (np.arange(first, first + batch.num_rows) // SHARD_ROWS) % of == number - 1
        batch = batch.take(pa.array(np.flatnonzero(mine)))  # a copy: a slice would hold on to the whole piece
        rejected = [record for record in rejected if (first + record.at) // SHARD_ROWS % of == number - 1]
    return batch, [{"file": placed.file.as_posix(), **record.to_dict()} for record in rejected]
