"""The command check.

In: a file. Out: what is in it, and what is wrong with it.
"""

from typing import TYPE_CHECKING

from secondcoder.cli.output import Columns, Json, print_json, tell
from secondcoder.cli.training import read_corpus
from secondcoder.errors import SecondcoderError
from secondcoder.settings import DEFAULT_MODEL, DEFAULT_SEED, ReadSettings

if TYPE_CHECKING:
    from secondcoder.model.encoding import TextEncoder

if TYPE_CHECKING:
    pass


def check(
    file: str,
    /,
    *,
    model: str | None = None,
    max_length: int | None = None,
    seed: int = DEFAULT_SEED,
    read: Columns = ReadSettings(),
    json: Json = False,
) -> int:
    """Say what is in a file of texts, and what is wrong with it, before anything is trained.

    Parameters
    ----------
    file
        Texts: CSV, TSV, JSONL, Parquet, a data set folder, or hub:owner/name[:config].
    model
        Model whose tokens are counted; unset: the default model, or minilm, whichever is on this machine.
    max_length
        Longest text in tokens that the model is to read.
    seed
        Of the draw, where a sample of a part is asked for.
    read
        Columns.
    json
        Print the result as JSON.
    """
    from secondcoder.corpus.checks import check as inspect

    corpus = read_corpus(file, read, seed)
    encoder = _find_encoder(model, max_length)
    lengths = None if encoder is None else encoder.encode(corpus.texts).full_lengths
    found = inspect(corpus, lengths=lengths, max_length=None if encoder is None else encoder.max_length)
    if json:
        print_json(found.to_dict())
    else:
        _print_report(found)
    return 2 if any(finding.severity == "error" for finding in found.findings) else 0


def _find_encoder(model: str | None, max_length: int | None) -> "TextEncoder | None":
    """Return the tokenisation to count with; without a name, only what is on this machine is used."""
    from huggingface_hub import try_to_load_from_cache

    from secondcoder.model.loading import load_encoder

    if model is None:
        cached = isinstance(try_to_load_from_cache(DEFAULT_MODEL, "tokenizer.json"), str)
        model = DEFAULT_MODEL if cached else "minilm"
        try:
            return load_encoder(model, max_length=max_length)
        except SecondcoderError as error:
            tell(f"note: token lengths are not counted. {error.what}")
            return None
    return load_encoder(model, max_length=max_length)
