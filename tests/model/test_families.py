"""Every family learns, is saved, loads, labels and exports, by the same code as any other.

`make test` goes through an encoder with positions behind its padding and a SentencePiece vocabulary, one with attention
of its own, and a decoder without a padding token; `make test-all` through all. What was seen stands in docs/models.md.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import secondcoder as sc
from secondcoder.corpus.corpus import Corpus, Source
from secondcoder.errors import ModelError, SettingsError
from secondcoder.evaluation.tasks import gold_of
from secondcoder.model.backends import PREDICTION_TOKENS
from secondcoder.model.families import BY_TYPE
from secondcoder.model.loading import load_encoder, load_model, start_model
from secondcoder.model.model import Model
from secondcoder.model.openvino_backend import convert
from secondcoder.model.pooling import layers_of
from secondcoder.model.temperature import fold_temperature
from secondcoder.settings import TrainSettings
from secondcoder.training.activation_cache import TokenInputs
from secondcoder.training.distributed import ALONE
from secondcoder.training.loop import fit
from secondcoder.training.steps import Stepper
from tests.families import FAMILIES, LENGTH, build
from tests.tiny import make_rows

QUICK = ("xlm-roberta", "deberta-v2", "gpt2")
ALL = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]
DECODERS = [name for name, tiny in FAMILIES.items() if BY_TYPE[tiny.model_type].kind == "decoder"]
LABELS = ("economic", "social")
ROWS = make_rows(32, seed=3, longest=8)
# Of many lengths, and with words that are in no vocabulary.
TEXTS = [text for text, _ in make_rows(80, seed=7, longest=30)] + [
    "tax",
    "We, Σ 日本 </s> [SEP] <pad> en_XX!",
    "tax " * 90,
]


def corpus_of(rows: list[tuple[str, str]]) -> Corpus:
    texts, labels = [text for text, _ in rows], [label for _, label in rows]
    return Corpus(
        ids=tuple(f"t{i}" for i in range(len(rows))),
        texts=tuple(texts),
        labels=tuple(labels),
        label_names=LABELS,
        groups=None,
        columns=pyarrow.table({"text": texts, "area": labels}),
        source=Source("made up", "0" * 64, {"text": "text", "label": "area"}),
    )


CORPUS = corpus_of(ROWS)


def start(folder: Path, **settings) -> Model:
    defaults = {"device": "cpu", "precision": "fp32", "freeze": 0.0}
    return start_model(TrainSettings(model=str(folder), **(defaults | settings)), label_names=LABELS, seed=3)


@pytest.fixture(scope="session")
def trained(folder_of, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Model, Path]]:
    """Return a family's model after it has learned 32 sentences by heart, and where it is saved."""
    made: dict[str, tuple[Model, Path]] = {}

    def get(name: str) -> tuple[Model, Path]:
        if name not in made:
            rate = FAMILIES[name].rate
            settings = TrainSettings(
                model=str(folder_of(name)),
                device="cpu",
                precision="fp32",
                freeze=0.0,
                epochs=15,
                learning_rate=rate,
                batch_size=8,
            )
            folder = tmp_path_factory.mktemp(f"{name}-trained")
            model = start_model(settings, label_names=LABELS, seed=3)
            fit(model, CORPUS, CORPUS, settings=settings, seed=3, checkpoints=folder / "checkpoints")
            model.save(folder / "model")
            made[name] = model, folder / "model"
        return made[name]

    return get


@pytest.mark.parametrize("name", ALL)
def test_32_sentences_are_learned_by_heart(trained, name):
    model, _ = trained(name)
    assert model.predict(CORPUS.texts) == list(CORPUS.labels)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_neighbours_order_and_padding_do_not_change_a_bit(trained, name, precision):
    _, folder = trained(name)
    if not BY_TYPE[FAMILIES[name].model_type].computes_bf16 and precision == "bf16":
        with pytest.raises(SettingsError, match="cannot compute in"):
            load_model(folder, device="cpu", precision=precision)
        return
    model = load_model(folder, device="cpu", precision=precision)
    expected = model.logits(TEXTS)
    assert np.isfinite(expected).all()
    assert np.array_equal(model.logits(TEXTS[::-1])[::-1], expected)
    assert np.array_equal(np.concatenate([model.logits([text]) for text in TEXTS[-9:]]), expected[-9:])
    # A batch without any padding: transformers leaves the mask out then, and other kernels compute.
    lengths = model.encoder.encode(TEXTS).lengths
    shape = int(lengths.max())
    full = [text for text, length in zip(TEXTS, lengths, strict=True) if length == shape][:1]
    whole = model.logits(full * (PREDICTION_TOKENS["cpu"] // shape))
    assert np.array_equal(whole[0], model.logits(full)[0])


@pytest.mark.parametrize("name", ALL)
def test_what_is_saved_gives_the_same_bits_and_plain_transformers_the_same_logits(trained, name):
    model, folder = trained(name)
    expected = model.logits(TEXTS)
    loaded = load_model(folder, device="cpu")
    assert np.array_equal(loaded.logits(TEXTS), expected)
    assert all(parameter.dtype == torch.float32 for parameter in loaded.network.parameters())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    # A text in which the tokenizer obeys a control token is read otherwise by others: docs/models.md.
    texts = [text for text in TEXTS if "</s>" not in text]
    batch = tokenizer(texts[:20] + texts[-3:], padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        found = network(**batch).logits.numpy()
    rows = [TEXTS.index(text) for text in texts[:20] + texts[-3:]]
    assert np.allclose(found, expected[rows], atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", ALL)
def test_steps_in_passes_have_the_gradients_of_one_pass(folder_of, name):
    def gradients(token_budget: int) -> tuple[torch.Tensor, int]:
        model = start(folder_of(name))
        model.network.double().eval()  # without dropout: only rounding may tell the two apart
        passes: list[int] = []
        model.network.register_forward_pre_hook(lambda *_: passes.append(1))
        stepper = Stepper(
            model.network,
            dict(model.network.named_parameters()),
            TokenInputs(model.encoder, model.encoder.encode(CORPUS.texts)),
            gold_of(CORPUS, LABELS),
            settings=TrainSettings(),
            precision="fp32",
            token_budget=token_budget,
            ranks=ALONE,
            say=lambda _: None,
        )
        stepper._gradients(np.arange(16))
        found = [p.grad.reshape(-1) for p in stepper.parameters.values() if p.grad is not None]
        return torch.cat(found), len(passes)

    (whole, once), (cut, often) = gradients(100_000), gradients(64)
    assert (once, often > 2) == (1, True)
    assert float(whole.abs().max()) > 1e-6
    # DeBERTa divides in fp32 whatever it is given, so rounding is that of fp32.
    assert float((whole - cut).abs().max() / whole.abs().max()) < 1e-6


@pytest.mark.parametrize("name", ALL)
def test_a_temperature_is_folded_in(trained, name):
    _, folder = trained(name)
    model = load_model(folder, device="cpu")
    before = model.logits(TEXTS)
    fold_temperature(model, 1.7)
    assert np.allclose(model.logits(TEXTS) * 1.7, before, rtol=1e-4, atol=1e-5 * np.abs(before).max())


@pytest.mark.parametrize("name", ALL)
def test_lower_layers_stay_still_and_upper_ones_move(folder_of, tmp_path, name):
    settings = TrainSettings(
        model=str(folder_of(name)), device="cpu", precision="fp32", freeze=0.5, epochs=1, learning_rate=5e-3
    )
    model = start_model(settings, label_names=LABELS, seed=3)
    before = {key: value.clone() for key, value in model.network.state_dict().items()}
    layers = layers_of(model.network)
    fit(model, CORPUS, CORPUS, settings=settings, seed=3, checkpoints=tmp_path)
    moved = {key for key, value in model.network.state_dict().items() if not torch.equal(value, before[key])}
    words = next(key for key, p in model.network.named_parameters() if p is model.network.get_input_embeddings().weight)
    assert words not in moved
    assert any("classif" in key or "score" in key for key in moved)
    if layers is not None:
        assert len(layers) == 2
        lower, upper = (
            {key for key, p in model.network.named_parameters() if any(p is q for q in layer.parameters())}
            for layer in layers
        )
        assert not lower & moved
        assert upper & moved


@pytest.mark.parametrize("name", ALL)
def test_a_step_in_bf16_moves_the_weights_or_the_precision_is_refused(folder_of, tmp_path, name):
    settings = TrainSettings(
        model=str(folder_of(name)), device="cpu", precision="bf16", freeze=0.0, epochs=1, attention_dropout=0.1
    )
    if not BY_TYPE[FAMILIES[name].model_type].computes_bf16:
        with pytest.raises(SettingsError, match="cannot compute in"):
            start_model(settings, label_names=LABELS, seed=3)
        assert start(folder_of(name), precision="auto").precision == "fp32"
        return
    model = start_model(settings, label_names=LABELS, seed=3)
    result = fit(model, CORPUS, CORPUS, settings=settings, seed=3, checkpoints=tmp_path)
    assert np.isfinite(result.history[-1]["train_loss"])
    assert {parameter.dtype for parameter in model.network.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    "name", [name if name == "gpt2" else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]
)
def test_the_whole_way_from_training_to_a_labelled_file(folder_of, tmp_path, name):
    split = sc.split(corpus_of(make_rows(60, seed=5)), dev=20, test=10)
    run = sc.train(split, output=tmp_path / "run", model=str(folder_of(name)), epochs=1, device="cpu", effort="quick")
    assert run.status == "complete"
    assert run.evaluate().n == 10
    path = tmp_path / "corpus.csv"
    path.write_text("text\n" + "\n".join(f'"{text}"' for text in TEXTS[:30]) + "\n", encoding="utf-8")
    model = sc.load(run.folder)
    sc.label(model, path, output=tmp_path / "labelled.csv", text="text")
    labelled = pyarrow.csv.read_csv(tmp_path / "labelled.csv").to_pydict()
    assert labelled["label"] == model.predict(TEXTS[:30])


@pytest.mark.slow
@pytest.mark.usefixtures("openvino")
@pytest.mark.parametrize("name", FAMILIES)
def test_openvino_says_the_same_or_why_it_cannot(trained, name):
    _, folder = trained(name)
    model = load_model(folder, device="cpu")
    expected = model.logits(TEXTS)
    if not BY_TYPE[FAMILIES[name].model_type].converts:
        with pytest.raises(ModelError, match=r"--backend torch"):
            convert(model.network, model.encoder, "fp32")
        assert np.array_equal(model.logits(TEXTS), expected)
        return
    model.use(convert(model.network, model.encoder, "fp32"))
    assert np.allclose(model.logits(TEXTS), expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    "name", ["gpt2", *(pytest.param(name, marks=pytest.mark.slow) for name in ["bert", *DECODERS[1:]])]
)
def test_the_side_that_a_tokenizer_pads_on_does_not_matter(folder_of, tmp_path, name):
    found = []
    for side in ("left", "right"):
        folder = tmp_path / side
        AutoTokenizer.from_pretrained(folder_of(name), padding_side=side, truncation_side=side).save_pretrained(folder)
        for path in folder_of(name).iterdir():
            if not (folder / path.name).exists():
                (folder / path.name).write_bytes(path.read_bytes())
        model = start(folder)
        found.append(model.logits(TEXTS))
        model.save(tmp_path / "model")
        assert AutoTokenizer.from_pretrained(tmp_path / "model").padding_side == "right"
    assert np.array_equal(*found)


@pytest.mark.parametrize(
    "name",
    [
        "gpt2",
        "llama-3",
        *(pytest.param(name, marks=pytest.mark.slow) for name in DECODERS if name not in ("gpt2", "llama-3")),
    ],
)
def test_a_decoder_classifies_the_last_token_that_is_not_padding(folder_of, name):
    """Also where the end of sentence pads: the last token is what is read, however far the row is filled up."""
    model = start(folder_of(name))
    assert model.network.config.pad_token_id == model.encoder.tokenizer.pad_token_id
    assert not model.network.config.use_cache
    encoded = model.encoder.encode(["we will cut taxes", "schools"])
    long, short = (
        model.backend.logits(model.encoder.batch(encoded, np.array([0]), (1, n))) for n in (40, len(encoded[0]))
    )
    assert np.allclose(long, short, atol=1e-5)
    with torch.inference_mode():
        hidden = model.network.base_model(torch.from_numpy(encoded[0][None].astype(np.int64))).last_hidden_state
        last = [i for i, token in enumerate(encoded[0]) if token != model.encoder.tokenizer.pad_token_id][-1]
        assert np.allclose(model.network.score(hidden[:, last]).numpy(), short, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["llama", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bert", "gemma3_text"))]
)
def test_a_checkpoint_in_bf16_is_trained_in_fp32_weights(tmp_path, name):
    model = start(build(name, tmp_path / "half", dtype=torch.bfloat16))
    assert {parameter.dtype for parameter in model.network.parameters()} == {torch.float32}
    model.save(tmp_path / "model")
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").dtype == torch.float32


@pytest.mark.parametrize(
    "name",
    ["xlm-roberta", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mpnet", "longformer", "roberta"))],
)
def test_positions_behind_the_padding_are_not_promised(folder_of, name):
    assert load_encoder(str(folder_of(name))).max_length == LENGTH
    with pytest.raises(SettingsError, match=f"at most {LENGTH} tokens"):
        start(folder_of(name), max_length=LENGTH + 1)


def test_a_maximum_of_131k_tokens_is_read_up_to_512_unless_told_otherwise(folder_of):
    assert start(folder_of("llama")).card.max_length == 512
    assert start(folder_of("llama"), max_length=2048).card.max_length == 2048


@pytest.mark.parametrize(
    ("name", "token"), [("xlm-roberta", "</s>"), ("deberta-v2", "[SEP]"), ("mbart", "</s>"), ("mbart", "en_XX")]
)
def test_a_control_token_in_a_text_is_unknown_where_the_vocabulary_knows_it_as_a_word(folder_of, name, token):
    model = start(folder_of(name))
    tokenizer = model.encoder.tokenizer
    assert (
        tokenizer.convert_tokens_to_ids(token) in tokenizer(f"tax {token} now", add_special_tokens=False)["input_ids"]
    )
    seen = model.encoder.inspect(f"tax {token} now").tokens
    assert seen.count(token) == (model.encoder.inspect("tax now").tokens).count(token)
    assert tokenizer.unk_token in seen
    assert np.isfinite(model.logits([f"tax {token} now", "tax now"])).all()


def test_a_tokenizer_of_another_model_is_refused(folder_of, tmp_path):
    folder = build("roberta", tmp_path / "mixed")
    AutoTokenizer.from_pretrained(folder_of("gpt2")).save_pretrained(folder)
    with pytest.raises(ModelError, match="two models"):
        start(folder)


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "mbart"])
def test_a_model_without_its_vocabulary_is_refused(folder_of, tmp_path, name):
    """transformers would make an empty tokenizer, to which every word is unknown."""
    for path in folder_of(name).iterdir():
        if "token" not in path.name:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ModelError, match=r"no vocabulary|no tokenizer\.json"):
        start(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"as SentencePiece writes it")
    with pytest.raises(ModelError, match=r"no tokenizer\.json") as caught:
        start(tmp_path)
    assert "sentencepiece" in caught.value.cure


def test_every_family_of_the_table_has_a_tiny_model():
    assert {tiny.model_type for tiny in FAMILIES.values()} == set(BY_TYPE)
