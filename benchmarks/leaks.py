"""Are planted near-duplicates found, and how long does the search take?

In: files with a column of texts. Out: a JSON file. Copies of texts are changed in one of several ways and put among all
texts; recall is the share of copies whose pair with the original is found, precision the share of right ones among the
pairs that hold a copy. With --rows, so many texts are made by joining halves of different ones, which gives them the
5-grams of real text, and the search is timed on those.

    python benchmarks/leaks.py FILE… --text COLUMN --result FILE [--rows 50000 200000]
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from secondcoder.corpus.near_duplicates import SHORTEST, find_near_duplicates, normalise, similar_pairs
from secondcoder.corpus.reading import read
from secondcoder.environment import machine, versions

PLANTED = 200


def main() -> None:
    """Plant, search, time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--text", required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--rows", type=int, nargs="*", default=[])
    options = parser.parse_args()
    texts = [text for path in options.data for text in read(path, text=options.text).texts if text.strip()]
    rng = np.random.default_rng(0)
    found = {
        "machine": machine(),
        "versions": versions(),
        "texts": len(texts),
        "median_characters": float(np.median([len(text) for text in texts])),
        "itself": timed(texts),
        "planted": {name: plant(texts, change, rng) for name, change in CHANGES.items()},
        "crossed": [timed(cross(texts, rows, rng)) for rows in options.rows],
    }
    options.result.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def timed(texts: list[str]) -> dict[str, float | int | bool]:
    """Return seconds of the wall and of the processor, and what was found."""
    wall, own = time.perf_counter(), time.process_time()
    near = find_near_duplicates(texts, range(len(texts)))
    return {
        "rows": len(texts),
        "pairs": len(near.first),
        "exact": near.is_exact,
        "seconds": round(time.perf_counter() - wall, 2),
        "processor_seconds": round(time.process_time() - own, 2),
    }


def plant(texts: list[str], change: Callable[[list[str], np.random.Generator], str], rng: np.random.Generator) -> dict:
    """Return recall, exact and by hashing, and precision of one kind of change."""
    distinct = sorted({normalise(text): text for text in texts if len(normalise(text)) >= 2 * SHORTEST}.values())
    originals = [distinct[i] for i in rng.choice(len(distinct), PLANTED, replace=False)]
    copies = [change(text.split(" "), rng) for text in originals]
    pool = sorted({normalise(text) for text in (*distinct, *copies)})
    planted = {frozenset((normalise(o), normalise(c))) for o, c in zip(originals, copies, strict=True)}
    same = sum(len(pair) == 1 for pair in planted)  # the change goes away in normalisation, so nothing is to be found
    before = pairs(sorted({normalise(text) for text in distinct}), hashed=False)
    result: dict[str, float | None] = {"planted": PLANTED, "same_after_normalisation": same}
    for name, hashed in (("exact", False), ("hashed", True)):
        after = pairs(pool, hashed=hashed)
        hits = len(planted & after) + same
        strange = {pair for pair in after - before - planted if not _by_way_of(pair, planted, before)}
        result[f"recall_{name}"] = round(hits / len(planted), 3)
        result[f"precision_{name}"] = round(hits / (hits + len(strange)), 3) if hits or strange else None
    return result


def pairs(texts: list[str], *, hashed: bool) -> set[frozenset[str]]:
    """Return the pairs found among normalised texts."""
    first, second, *_ = similar_pairs(texts, **({"exact_up_to": 0} if hashed else {}))
    return {frozenset((texts[i], texts[j])) for i, j in zip(first.tolist(), second.tolist(), strict=True)}


def _by_way_of(pair: frozenset[str], planted: set[frozenset[str]], before: set[frozenset[str]]) -> bool:
    """Whether a copy was paired with a near-duplicate of its original, which is right too."""
    return any(len(p & pair) == 1 and frozenset(p ^ pair) in before for p in planted if p & pair)


def cross(texts: list[str], rows: int, rng: np.random.Generator) -> list[str]:
    """Return texts that begin as one and end as another."""
    halves = [text.split(" ") for text in texts]
    one, other = rng.integers(len(texts), size=(2, rows))
    return [
        " ".join(halves[a][: len(halves[a]) // 2] + halves[b][len(halves[b]) // 2 :])
        for a, b in zip(one.tolist(), other.tolist(), strict=True)
    ]


def _replaced(share: float) -> Callable[[list[str], np.random.Generator], str]:
    def change(words: list[str], rng: np.random.Generator) -> str:
        n = max(1, round(share * len(words)))
        for i in rng.choice(len(words), n, replace=False):
            words[i] = "".join(rng.choice(list("etaoinshrdlu"), max(len(words[i]), 3)))
        return " ".join(words)

    return change


def _dropped(words: list[str], rng: np.random.Generator) -> str:
    del words[int(rng.integers(len(words)))]
    return " ".join(words)


CHANGES: dict[str, Callable[[list[str], np.random.Generator], str]] = {
    "case and blanks": lambda words, rng: "  ".join(words).upper(),
    "punctuation": lambda words, rng: " ".join(words).replace(",", " –").rstrip(".") + "!",
    "one word replaced": _replaced(0),
    "one word dropped": _dropped,
    "two words swapped": lambda words, rng: " ".join([*words[-1:], *words[1:-1], *words[:1]]),
    "a number before": lambda words, rng: f"{rng.integers(1, 100)}. " + " ".join(words),
    "a short sentence behind": lambda words, rng: " ".join(words) + " We mean what we say.",
    "a tenth of the words replaced": _replaced(0.1),
    "the last tenth cut": lambda words, rng: " ".join(words[: -max(1, len(words) // 10)]),
    "half of the words replaced": _replaced(0.5),
}


if __name__ == "__main__":
    main()
