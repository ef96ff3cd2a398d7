"""Names of models that are nearly right.

In: a name that no model has. Out: the one of the table that was probably meant, without asking the hub.
"""

import difflib
from collections.abc import Iterator

from secondcoder.model.families import FAMILIES

# Names by which weights above are known too; the hub forwards them.
_FORMER = {
    "google-bert": "bert-base-uncased bert-base-cased bert-large-uncased bert-base-multilingual-cased",
    "distilbert": "distilbert-base-uncased distilbert-base-cased distilbert-base-multilingual-cased "
    "distilbert-base-german-cased distilroberta-base distilgpt2",
    "FacebookAI": "roberta-base roberta-large xlm-roberta-base xlm-roberta-large",
    "openai-community": "gpt2 gpt2-medium",
    "albert": "albert-base-v2 albert-large-v2",
    "almanach": "camembert-base",
}
# Below this a name is another name, not one with a slip: "bert-base" is 0.81 like "bert-base-cased".
_ALIKE = 0.84


def known_names() -> tuple[str, ...]:
    """Return the names of the table's weights, and those by which they are known too."""
    names = [checkpoint.name for family in FAMILIES for checkpoint in family.checkpoints]
    return (*names, *(f"{owner}/{name}" for owner, some in _FORMER.items() for name in some.split()))


def suggest(name: str) -> str:
    """Return ``"did you mean 'x'? "`` where a model's name is nearly one of the table's, else nothing."""
    known = {candidate.casefold(): candidate for candidate in known_names()}
    if name in known.values():
        return ""
    for asked in _forms(name.casefold()):
        if matches := difflib.get_close_matches(asked, known, n=1, cutoff=_ALIKE):
            return f"did you mean {known[matches[0]]!r}? "
    return ""


def _forms(name: str) -> Iterator[str]:
    """Yield a name as it was given, and without its owner or the owner that it may lack."""
    yield name
    _, slash, bare = name.partition("/")
    if slash:
        yield bare
        return
    yield from (known.casefold() for known in known_names() if known.casefold().endswith(f"/{name}"))
