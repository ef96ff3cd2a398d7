"""Corpora made by hand."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from secondcoder.corpus.corpus import Corpus, Source, natural_order


def make_corpus(
    texts: Sequence[str],
    labels: Sequence[str | None],
    *,
    ids: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    parts: Sequence[Any] | None = None,
    **columns: Sequence[Any],
) -> Corpus:
    """Return a corpus with these rows; further columns by name."""
    ids = tuple(ids) if ids is not None else tuple(f"r{row}" for row in range(len(texts)))
    table = {"id": ids, "text": tuple(texts), "label": tuple(labels)}
    if groups is not None:
        table["group"] = tuple(groups)
    roles = {name: name for name in table}
    return Corpus(
        ids=ids,
        texts=tuple(texts),
        labels=tuple(labels),
        label_names=natural_order({label for label in labels if label is not None}),
        columns=pa.table({name: list(values) for name, values in (table | columns).items()}),
        source=Source("memory", "0", roles),
        groups=None if groups is None else tuple(groups),
        parts=None if parts is None else tuple(parts),
    )
