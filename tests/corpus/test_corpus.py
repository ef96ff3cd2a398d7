from dataclasses import replace

import numpy as np
import pytest

from tests.corpus.make import make_corpus


@pytest.fixture
def corpus():
    return make_corpus(["x", "y"], ["a", "b"], groups=["g", "h"])


def test_the_hash_is_that_of_what_is_learned_from_wherever_it_was_read(corpus):
    same = replace(corpus, source=replace(corpus.source, name="elsewhere", sha256="1"), findings=())
    assert same.sha256() == corpus.sha256() == make_corpus(["x", "y"], ["a", "b"], groups=["g", "h"]).sha256()
    shared = replace(corpus, shares=np.array([[1.0, 0.0], [1 / 3, 2 / 3]]))
    assert shared.sha256() == replace(corpus, shares=np.array([[1.0, 0.0], [1 / 3, 2 / 3]])).sha256()


def test_whatever_is_other_data_has_another_hash(corpus):
    others = [
        corpus.take([1, 0]),
        corpus.take([0]),
        replace(corpus, ids=("r0", "r2")),
        replace(corpus, texts=("x", "")),
        replace(corpus, labels=("a", "a")),
        replace(corpus, labels=("a", None)),
        replace(corpus, groups=("g", "g")),
        replace(corpus, groups=None),
        replace(corpus, label_names=("b", "a")),
        replace(corpus, positive="a"),
        replace(corpus, task="ordinal"),
        replace(corpus, task="multi-label"),
        replace(corpus, task="multi-label", separator="|"),
        replace(corpus, shares=np.array([[1.0, 0.0], [0.25, 0.75]])),
        replace(corpus, shares=np.array([[1.0, 0.0], [0.0, 1.0]])),
    ]
    assert len({rows.sha256() for rows in [corpus, *others]}) == 1 + len(others)
