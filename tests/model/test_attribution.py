import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from secondcoder.errors import DataError, ModelError, SettingsError
from secondcoder.model import attribution
from secondcoder.model.attribution import Attribution, check_against_occlusion, explain_all
from secondcoder.model.loading import start_model
from secondcoder.model.model import Model
from secondcoder.model.tokenisation import TextEncoder
from secondcoder.model.words import read_words
from secondcoder.settings import TrainSettings
from tests.tiny import FILLER, make_rows

LABELS = ("economic", "social")
TEXTS = [text for text, _ in make_rows(8, seed=5, longest=40)]


def explained(model, text, label=None):
    return explain_all(model, [text], None if label is None else [label])[0]


def start(folder: Path, labels: tuple[str, ...] = LABELS, **settings) -> Model:
    settings = {"device": "cpu", "precision": "fp32", **settings}
    return start_model(TrainSettings(model=str(folder), **settings), label_names=labels, seed=3)


@pytest.fixture(scope="module")
def model(encoder_folder: Path) -> Model:
    return start(encoder_folder)


def texts_of_one_word(n: int, seed: int, k: int = 3) -> tuple[list[str], list[int]]:
    """Texts of words that say nothing, but for one: tax, school, or neither."""
    generator = np.random.default_rng(seed)
    classes = generator.integers(0, k, n)
    texts = []
    for c in classes:
        words = list(generator.choice(FILLER, generator.integers(4, 12)))
        words.insert(int(generator.integers(0, len(words) + 1)), ("tax", "school", "the")[c])
        texts.append(" ".join(words))
    return texts, classes.tolist()


@pytest.fixture(scope="module")
def trained(encoder_folder: Path) -> Model:
    """A model that has learnt that one word decides; with a class of its own for texts without either word."""
    model = start(encoder_folder, (*LABELS, "neither"))
    network = model.network.train()
    steps = torch.optim.AdamW(network.parameters(), lr=3e-3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for step in range(80):
            texts, classes = texts_of_one_word(32, seed=step)
            encoded = model.encoder.encode(texts)
            batch = model.encoder.batch(encoded, np.arange(32), (32, int(encoded.lengths.max())))
            loss = torch.nn.functional.cross_entropy(network(**batch).logits, torch.tensor(classes))
            loss.backward()
            steps.step()
            steps.zero_grad()
    texts, classes = texts_of_one_word(100, seed=99)
    assert (model.logits(texts).argmax(axis=1) == classes).mean() > 0.97
    return model


def spans(found: Attribution) -> list[str]:
    assert all(found.text[word.start : word.end] == word.text for word in found.words)
    return [word.text for word in found.words]


def test_the_word_that_decides_has_the_highest_weight(trained):
    texts, classes = texts_of_one_word(40, seed=7, k=2)
    for found, c in zip(explain_all(trained, texts), classes, strict=True):
        strongest = max(found.words, key=lambda word: word.weight)
        assert (found.label, strongest.text, strongest.weight) == (LABELS[c], ("tax", "school")[c], 1.0)


def test_of_two_classes_one_is_pushed_as_the_other_is_not(model):
    own, other = (
        explained(model, "we will cut tax this year", "economic"),
        explained(model, "we will cut tax this year", "social"),
    )
    assert own.margin == pytest.approx(-other.margin, rel=1e-4)
    assert [w.weight for w in own.words] == pytest.approx([-w.weight for w in other.words], abs=1e-4)


def test_what_words_contribute_sums_to_the_margin_over_an_empty_text(model):
    for text in TEXTS:
        found = explained(model, text, "economic")
        ids = torch.tensor([model.encoder.encode([text])[0].tolist()])
        ids[0, 1:-1] = model.encoder.tokenizer.pad_token_id
        with torch.inference_mode():
            logits = model.network.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
        assert found.total == pytest.approx(found.margin - float(logits[0] - logits[1]), rel=0.02, abs=1e-4)
        assert sum(w.weight for w in found.words) * found.strongest == pytest.approx(found.total, abs=1e-6)


def test_the_margin_is_how_far_the_class_is_ahead_of_the_mean_of_the_others(encoder_folder):
    model = start(encoder_folder, ("left", "centre", "right"))
    logits = model.logits(TEXTS)
    for found, row in zip(explain_all(model, TEXTS, ["centre"] * len(TEXTS)), logits, strict=True):
        assert found.margin == pytest.approx(row[1] - (row[0] + row[2]) / 2, abs=1e-5)
    predicted = [found.label for found in explain_all(model, TEXTS)]
    assert predicted == model.predict(TEXTS)


def test_weights_are_shares_of_the_strongest(model):
    for found in explain_all(model, TEXTS):
        assert max(abs(word.weight) for word in found.words) == 1.0
        assert found.not_seen is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("We'll cut taxes, NOW!", ["We'll", "cut", "taxes", ",", "NOW", "!"]),
        ("growth  and\tjobs\n", ["growth", "and", "jobs"]),
        ("naïve cafe\u0301 Straße", ["naïve", "cafe\u0301", "Straße"]),
        ("tax 👍🏽 école", ["tax", "👍🏽", "école"]),
        ("我们减税 now", ["我", "们", "减", "税", "now"]),
        ("1,000 homes 3.5 %", ["1,000", "homes", "3.5", "%"]),
        ("snake_case 'quoted' left-wing", ["snake_case", "'", "quoted", "'", "left", "-", "wing"]),
        ("[SEP] the [MASK]", ["[", "SEP", "]", "the", "[", "MASK", "]"]),
    ],
)
def test_words_are_substrings_and_pieces_are_joined(model, text, words):
    assert spans(explained(model, text)) == words


@pytest.fixture(scope="module")
def bytes_encoder() -> TextEncoder:
    """A tokenizer to which every byte is a token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate([*alphabet, "<pad>"])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", split_special_tokens=True)
    return TextEncoder(fast, max_length=64)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("We'll tax, now", ["We'll", "tax", ",", "now"]),
        ("über 👨‍👩‍👧 so", ["über", "👨‍👩‍👧", "so"]),
        ("减税 now", ["减", "税", "now"]),
        ("1,000 é", ["1,000", "é"]),
    ],
)
def test_characters_of_several_tokens_are_words_too(bytes_encoder, text, words):
    reading = read_words(bytes_encoder, [text], bytes_encoder.encode([text]))[0]
    assert [text[start:end] for start, end in reading.spans] == words
    assert len(reading.word_of) == len(text.encode())


def test_what_is_cut_off_is_marked_as_not_seen(encoder_folder):
    text = "we will the of our taxes this year and every year"
    model = start(encoder_folder, max_length=8)  # six tokens of text
    assert model.encoder.inspect(text).tokens[1:-1] == "we will the of our taxes".split()
    head = explained(model, text)
    assert spans(head) == "we will the of our taxes".split()
    assert text[slice(*head.not_seen)] == "this year and every year"
    model.encoder = TextEncoder(model.encoder.tokenizer, max_length=8, long_texts="head-tail")
    both = explained(model, text)
    assert spans(both) == "we will the and every year".split()
    assert text[slice(*both.not_seen)] == "of our taxes this year"


def test_of_a_word_that_is_cut_in_two_the_part_that_is_read_is_shown(encoder_folder):
    found = explained(start(encoder_folder, max_length=8), "we will xyzxyz")  # unknown words are read by letters
    assert spans(found) == ["we", "will", "xyzx"]
    assert found.text[slice(*found.not_seen)] == "yz"


def test_a_text_has_the_same_weights_in_any_company(model):
    together = explain_all(model, TEXTS)
    for alone, other in zip([explained(model, text) for text in TEXTS], together, strict=True):
        assert (alone.label, alone.not_seen) == (other.label, other.not_seen)
        assert spans(alone) == spans(other)
        assert alone.margin == pytest.approx(other.margin, abs=1e-5)
        assert alone.total == pytest.approx(other.total, rel=1e-3, abs=1e-4)
        assert [w.weight for w in alone.words] == pytest.approx([w.weight for w in other.words], abs=1e-3)
    assert explain_all(model, []) == []


def test_the_model_is_left_as_it_was(encoder_folder):
    model = start(encoder_folder)
    network = model.network.train()
    first, *others = network.parameters()
    first.requires_grad_(False)
    others[0].grad = torch.ones_like(others[0])
    network.classifier.eval()
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    chance = torch.random.get_rng_state()
    explain_all(model, TEXTS)
    check_against_occlusion(model, TEXTS[:2])
    assert [module.training for module in network.modules()] == modes
    assert [p.requires_grad for p in network.parameters()] == [False] + [True] * len(others)
    assert torch.equal(others[0].grad, torch.ones_like(others[0]))
    assert all(p.grad is None for p in [first, *others[1:]])
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
    assert torch.equal(torch.random.get_rng_state(), chance)


def test_it_works_inside_inference_mode_and_for_models_that_label_in_bf16(encoder_folder, model):
    expected = [word.weight for word in explained(model, TEXTS[0]).words]
    with torch.inference_mode():
        assert [word.weight for word in explained(model, TEXTS[0]).words] == expected
    coarse = start(encoder_folder, precision="bf16")
    assert [word.weight for word in explained(coarse, TEXTS[0]).words] == expected


@pytest.mark.parametrize("kind", ["distilbert", "roberta", "gpt2"])
def test_other_architectures_are_explained_alike(model, kind):
    small = {"vocab_size": 500, "pad_token_id": model.encoder.tokenizer.pad_token_id, "num_labels": 2}
    sizes = {
        "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
        "roberta": {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
        },
        "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "bos_token_id": 2, "eos_token_id": 3},
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(kind, **small, **sizes[kind]))
    other = Model(network, model.encoder, model.card)
    found = explain_all(other, TEXTS)
    assert [len(f.words) for f in found] == [len(text.split()) for text in TEXTS]
    assert all(max(abs(word.weight) for word in f.words) == 1.0 for f in found)


def test_what_cannot_be_explained_is_refused(model):
    for text in ("", " \n"):
        with pytest.raises(DataError, match="Text 2 is empty"):
            explain_all(model, ["tax", text])
    with pytest.raises(SettingsError, match="did you mean 'social'"):
        explained(model, "tax", "socail")
    with pytest.raises(DataError, match="1 texts and 2 labels"):
        explain_all(model, ["tax"], list(LABELS))


def test_a_text_of_which_the_tokenizer_leaves_nothing_has_no_words(model):
    found = explained(model, "\u200b")
    assert (found.words, found.total, found.strongest) == ((), 0.0, 0.0)
    assert check_against_occlusion(model, ["\u200b", "tax"]) is None


def test_a_tokenizer_without_offsets_is_refused(model, monkeypatch):
    monkeypatch.setattr(type(model.encoder.tokenizer), "is_fast", False)
    with pytest.raises(ModelError, match="which characters"):
        explained(model, "tax")


def test_leaving_words_out_agrees_with_their_weights(trained, monkeypatch):
    texts, _ = texts_of_one_word(40, seed=11)
    agreement = check_against_occlusion(trained, texts, seed=1)
    assert agreement > 0.3
    assert check_against_occlusion(trained, texts, seed=1) == agreement

    def backwards(*given):
        return [
            replace(found, words=tuple(replace(word, weight=-word.weight) for word in found.words))
            for found in explain_all(*given)
        ]

    monkeypatch.setattr(attribution, "explain_all", backwards)
    assert check_against_occlusion(trained, texts, seed=1) == pytest.approx(-agreement)


def test_an_attribution_survives_json_and_other_json_is_refused(encoder_folder):
    for found in explain_all(start(encoder_folder, max_length=8), TEXTS[:4]):
        assert Attribution.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    with pytest.raises(DataError, match="not an attribution"):
        Attribution.from_dict({"text": "tax"})
