import re

import pytest

from secondcoder.model.families import BY_TYPE, FAMILIES
from secondcoder.reporting.content import read
from secondcoder.reporting.methods import methods
from secondcoder.reporting.references import MODELS, REFERENCES, cited_for, cited_for_kind
from tests.reporting.made import content

LISTED = [(checkpoint.name, family.model_type) for family in FAMILIES for checkpoint in family.checkpoints]


@pytest.mark.parametrize(("name", "kind"), LISTED)
def test_every_model_that_is_listed_has_its_paper(name: str, kind: str) -> None:
    keys = cited_for(name, kind)
    assert keys
    assert set(keys) <= MODELS.keys()


def test_every_paper_is_of_a_model_that_is_listed_and_is_named_as_it_is_referred_to() -> None:
    used = {key for name, kind in LISTED for key in cited_for(name, kind)} | {
        key for kind in BY_TYPE for key in cited_for_kind(kind)
    }
    assert used == MODELS.keys()
    for named, reference in MODELS.values():
        assert f"({named[-4:]})" in reference
        assert re.split(r",? (?:et al|and )|, ", named.removesuffix(named[-5:]))[0] in reference
    assert all(re.search(r"doi:10\.\d+/|arXiv:\d{4}\.\d{4,5}|OpenAI|Wiley", r) for r in REFERENCES.values())


def test_sentence_models_in_many_languages_have_the_paper_that_made_them() -> None:
    name = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
    assert cited_for(name, "bert") == ("wang2020", "reimers2020")


def test_weights_of_another_kind_are_not_cited_by_a_name_that_is_alike() -> None:
    assert cited_for("camembert-base", "camembert") == ("martin2020",)
    assert cited_for("albert-base-v2", "albert") == ("lan2020",)
    assert cited_for("distilbert-base-uncased", "distilbert") == ("sanh2019",)
    assert cited_for("FacebookAI/roberta-base", "roberta") == ("liu2019",)
    assert cited_for("somebody/bert-base-uncased-finetuned", "bert") == ()


def told(model: str, kind: str, *, sha256: str | None = None, **settings: str) -> str:
    made = content(
        model=model,
        model_kind=kind,
        model_description="bert, 22.7 million parameters",
        pretrained_sha256=sha256,
        settings=settings,
    )
    return " ".join(methods(made, read(made)).paragraphs)


def test_the_model_is_told_by_paper_and_revision() -> None:
    assert (
        "pre-trained language model all-MiniLM-L6-v2 (Wang et al. 2020; Reimers and Gurevych 2019; SHA-256 of its "
        "weights 53aa51172d142c89…; bert, 22.7 million parameters)"
    ) in told("minilm", "bert", sha256="53aa51172d142c89d9012cce15ae4d6c")
    assert "roberta-base (Liu et al. 2019; revision e2da8e2f811d; " in told(
        "roberta-base", "roberta", revision="e2da8e2f811d"
    )


def test_of_weights_that_are_not_listed_the_author_has_to_tell_the_source() -> None:
    text = told("/home/me/models/gbert-mine", "bert", sha256="ab" * 32)
    assert (
        "language model in the folder “gbert-mine” ([Fill in: where it comes from, and its paper]; its network is"
        in text
    )
    assert "that of BERT (Devlin et al. 2019); SHA-256 of its weights abababababababab…" in text
    assert "/home/me" not in text
    text = told("somebody/some-bert", "bert", revision="12ab")
    assert "language model somebody/some-bert ([Fill in: where it comes from, and its paper]; its network" in text
