"""Texts with several labels, which words of them give away."""

from random import Random

from tests.tiny import FILLER, SUBJECTS


def made_sets(n: int, seed: int = 0, longest: int = 8) -> tuple[list[str], list[set[str]]]:
    """Return n different texts, each with the subjects that two words each speak of: none, one or both."""
    random = Random(seed)
    rows: dict[str, set[str]] = {}
    while len(rows) < n:
        own = {name for name in SUBJECTS if random.random() < 0.5}
        words = random.choices(FILLER, k=random.randint(2, longest))
        words += [word for name in sorted(own) for word in random.choices(SUBJECTS[name], k=2)]
        random.shuffle(words)
        rows.setdefault(" ".join(words), own)
    return list(rows), list(rows.values())
