import pytest
from huggingface_hub import ModelCard

from secondcoder.corpus.findings import Finding
from secondcoder.reporting.card import render_card
from tests.reporting.made import compared, content, full_content, judged


def test_the_hub_reads_the_metadata() -> None:
    data = ModelCard(render_card(full_content())).data.to_dict()
    assert data["library_name"] == "transformers"
    assert data["pipeline_tag"] == "text-classification"
    assert data["base_model"] == "tiny-encoder"
    assert "license" not in data
    results = data["model-index"][0]["results"]
    assert [result["dataset"]["split"] for result in results] == ["test", "folds"]
    macro, accuracy = results[0]["metrics"]
    assert (macro["type"], macro["value"]) == ("f1", 0.88)
    assert macro["name"].startswith("macro-F1, 95 % interval for these documents only [0.")
    assert (accuracy["type"], accuracy["value"]) == ("accuracy", 0.88)


@pytest.mark.parametrize("evil", ['"\n- x: y', "---", "a: b # c", "| x |", "*[x](y)*", "<script>"])
def test_text_from_the_data_is_text_in_the_card(evil: str) -> None:
    names = ("economic", evil)
    card = ModelCard(
        render_card(
            content(
                label_column=evil, source=evil, label_names=names, group_column=evil, positive=evil,
                evaluations={"test": compared(88, 80, names=names, positive=evil)},
            )
        )
    )  # fmt: skip
    data = card.data.to_dict()
    assert data["model-index"][0]["name"] == evil
    assert data["model-index"][0]["results"][0]["dataset"]["name"] == evil
    assert "<script>" not in card.text
    table = [line for line in card.text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in table} == {3, 5, 6}  # whole rows of three tables


def test_a_folder_is_no_base_model_of_the_hub() -> None:
    assert "base_model:" not in render_card(content(model="/home/me/models/mine"))


def test_the_card_says_what_speaks_against_its_figures() -> None:
    leaks = Finding("leaks-allowed", "warning", "23 test texts are nearly the same as one in train.")
    evaluations = {"test": {"model": judged(88, n_groups=3)}}
    card = render_card(content(evaluations=evaluations, findings=[leaks], test_openings=4))
    assert "come from 3 groups (manifesto). The figures are for these only." in card
    assert "Intervals hold for other texts of these 3 groups only." in card
    assert "opened 4 times" in card
    assert "Leaks were allowed. 23 test texts" in card
    assert "has not been opened" in render_card(content(evaluations={"dev": compared(90, 80)}, test_openings=0))


def test_backend_and_precision_stand_in_the_card() -> None:
    card = render_card(content(settings={"backend": "torch", "precision": "bf16", "max_length": 128}))
    assert "What was evaluated is what labels: torch in bf16." in card
    assert "truncation=True, max_length=128" in card


def test_a_run_without_figures_has_a_card_too() -> None:
    card = ModelCard(render_card(content(evaluations={}, history=[], findings=[], lengths=None)))
    assert "model-index" not in card.data.to_dict()
