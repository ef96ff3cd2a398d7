"""The families of models that can be fine-tuned here: their names, sizes, languages, quirks, and when to take which.

In: nothing. Out: `FAMILIES`, a table that the allow-list, ``secondcoder models`` and docs/models.md are made from. Each
was fine-tuned, saved, loaded and labelled with in tests/model/test_families.py; what was not is refused.
"""

import difflib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["encoder", "decoder", "encoder-decoder"]


@dataclass(frozen=True)
class Checkpoint:
    """Pre-trained weights of a family that can be had.

    Attributes
    ----------
    name
        On the hub, or ``minilm``.
    parameters
        Weights, in millions.
    computed
        Weights that each token is multiplied with, in millions: the layers', without the table of the vocabulary.
    languages
        Those that it was pre-trained on.
    """

    name: str
    parameters: float
    computed: float
    languages: str = "English"

    def to_dict(self) -> dict[str, Any]:
        """Return the checkpoint as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Family:
    """Networks of one kind.

    Attributes
    ----------
    model_type
        transformers' name of it, as ``config.json`` has it.
    title
        What people call it.
    kind
        Reads in both directions (encoder), only backwards (decoder), or has both.
    checkpoints
        Weights that can be had, the one to begin with first.
    quirks
        What is peculiar, and what is done about it here.
    when
        When to take it.
    positions_behind_padding
        Whether positions are counted from behind the padding token's id, so that fewer tokens are read than it says.
    cost
        Seconds for short sentences, in those that BERT takes with as many `Checkpoint.computed` weights.
    computes_bf16
        Whether it can compute in bf16; if not, it computes in fp32.
    explained
        Whether words can be credited with what the network says.
    converts
        Whether OpenVINO can compute it; if not, torch labels.
    """

    model_type: str
    title: str
    kind: Kind
    checkpoints: tuple[Checkpoint, ...]
    quirks: str
    when: str
    positions_behind_padding: bool = False
    cost: float = 1.0
    computes_bf16: bool = True
    explained: bool = True
    converts: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the family as plain JSON values."""
        return {**asdict(self), "checkpoints": [checkpoint.to_dict() for checkpoint in self.checkpoints]}


_ABSOLUTE = "Positions are counted from behind the padding index: 514 positions read 512 tokens."
_EAGER = "No fused attention in transformers, so slower than its size says."
_LAST_TOKEN = "The last token that is not padding is what is classified."
FAMILIES: tuple[Family, ...] = (
    Family(
        "bert",
        "BERT, MiniLM",
        "encoder",
        (
            Checkpoint("minilm", 22.7, 10.6),
            Checkpoint("sentence-transformers/all-MiniLM-L6-v2", 22.7, 10.6),
            Checkpoint("bert-base-uncased", 109.5, 85.1),
            Checkpoint("bert-base-cased", 108.3, 85.1),
            Checkpoint("bert-large-uncased", 335.1, 302.3),
            Checkpoint("microsoft/MiniLM-L12-H384-uncased", 33.4, 21.3),
            Checkpoint("sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2", 117.7, 21.3, "50 languages"),
            Checkpoint("bert-base-multilingual-cased", 177.9, 85.1, "104 languages"),
            Checkpoint("deepset/gbert-base", 109.9, 85.1, "German"),
        ),
        "`token_type_ids` are left to the network, which takes zeros.",
        "MiniLM (`minilm` comes with the extra demo) to begin with and on a CPU; BERT where a paper must be followed.",
    ),
    Family(
        "distilbert",
        "DistilBERT",
        "encoder",
        (
            Checkpoint("distilbert-base-uncased", 66.4, 42.5),
            Checkpoint("distilbert-base-cased", 65.2, 42.5),
            Checkpoint("distilbert-base-multilingual-cased", 134.7, 42.5, "104 languages"),
            Checkpoint("distilbert-base-german-cased", 66.4, 42.5, "German"),
        ),
        "Knows no `token_type_ids`.",
        "The default: most of what BERT can do, at half the cost.",
    ),
    Family(
        "roberta",
        "RoBERTa",
        "encoder",
        (
            Checkpoint("roberta-base", 124.6, 85.1),
            Checkpoint("distilroberta-base", 82.1, 42.5),
            Checkpoint("roberta-large", 355.4, 302.3),
        ),
        _ABSOLUTE,
        "Usually better than BERT at its cost; the large one where there is a GPU.",
        positions_behind_padding=True,
    ),
    Family(
        "xlm-roberta",
        "XLM-RoBERTa",
        "encoder",
        (
            Checkpoint("xlm-roberta-base", 278.0, 85.1, "100 languages"),
            Checkpoint("xlm-roberta-large", 559.9, 302.3, "100 languages"),
            Checkpoint("intfloat/multilingual-e5-base", 278.0, 85.1, "100 languages"),
        ),
        f"{_ABSOLUTE} A control token written in a text is read as unknown.",
        "Texts in several languages, or in one that has no model of its own.",
        positions_behind_padding=True,
    ),
    Family(
        "camembert",
        "CamemBERT",
        "encoder",
        (Checkpoint("camembert-base", 110.6, 85.1, "French"),),
        f"{_ABSOLUTE} A control token written in a text is read as unknown.",
        "French.",
        positions_behind_padding=True,
    ),
    Family(
        "deberta-v2",
        "DeBERTa-v2, v3",
        "encoder",
        (
            Checkpoint("microsoft/deberta-v3-base", 183.8, 85.1),
            Checkpoint("microsoft/deberta-v3-xsmall", 70.7, 21.3),
            Checkpoint("microsoft/deberta-v3-small", 141.3, 42.5),
            Checkpoint("microsoft/deberta-v3-large", 434.0, 302.3),
            Checkpoint("microsoft/mdeberta-v3-base", 278.2, 85.1, "100 languages"),
        ),
        f"{_EAGER} v3 is this network with another vocabulary. Its tokenizer names no maximum; 512 tokens are read.",
        "Often the best of its size where a GPU is there; on a CPU its attention takes long.",
    ),
    Family(
        "deberta",
        "DeBERTa (first version)",
        "encoder",
        (Checkpoint("microsoft/deberta-base", 138.6, 99.2),),
        f"{_EAGER} Computes in fp32 only.",
        "Where a paper must be followed; else DeBERTa-v3.",
        computes_bf16=False,
    ),
    Family(
        "modernbert",
        "ModernBERT",
        "encoder",
        (
            Checkpoint("answerdotai/ModernBERT-base", 149.0, 110.3),
            Checkpoint("answerdotai/ModernBERT-large", 394.8, 343.2),
        ),
        "Reads up to 8,192 tokens, 512 of them unless `--max-length` says more. Most layers see 64 to each side.",
        "Long texts in English: `--max-length 2048` costs far less than by others.",
    ),
    Family(
        "mpnet",
        "MPNet",
        "encoder",
        (
            Checkpoint("sentence-transformers/all-mpnet-base-v2", 109.5, 85.1),
            Checkpoint("microsoft/mpnet-base", 109.5, 85.1),
        ),
        f"{_EAGER} {_ABSOLUTE}",
        "Few labels: the sentence-transformers' weights are good as they are (`--effort quick`).",
        positions_behind_padding=True,
    ),
    Family(
        "electra",
        "ELECTRA",
        "encoder",
        (
            Checkpoint("google/electra-small-discriminator", 13.5, 9.5),
            Checkpoint("google/electra-base-discriminator", 108.9, 85.1),
            Checkpoint("google/electra-large-discriminator", 334.1, 302.3),
        ),
        "Take the discriminator, not the generator.",
        "The small one where memory and time are shortest.",
    ),
    Family(
        "albert",
        "ALBERT",
        "encoder",
        (Checkpoint("albert-base-v2", 11.7, 85.1), Checkpoint("albert-large-v2", 17.7, 302.3)),
        "All layers share their weights: the file is small, the work is not, and no part of them can be frozen.",
        "Where the size of the model's file matters, and nothing else.",
    ),
    Family(
        "longformer",
        "Longformer",
        "encoder",
        (Checkpoint("allenai/longformer-base-4096", 148.7, 106.3),),
        f"{_EAGER} {_ABSOLUTE} The first token sees all others, the others a window of 512: shorter texts are "
        "padded to it, and cost as much as one of 512 tokens.",
        "Texts of up to 4,096 tokens that windows cannot be cut from; ModernBERT does it faster.",
        positions_behind_padding=True,
        cost=16.0,  # 512 tokens for a sentence of 32
        converts=False,
    ),
    Family(
        "gpt2",
        "GPT-2",
        "decoder",
        (
            Checkpoint("gpt2", 124.4, 85.1),
            Checkpoint("distilgpt2", 81.9, 42.5),
            Checkpoint("gpt2-medium", 354.8, 302.3),
        ),
        f"{_LAST_TOKEN} It comes without padding: the end-of-text token pads, masked. Padded on the right, as "
        "positions are counted from the start.",
        "To compare with; encoders of its size classify better.",
    ),
    Family(
        "llama",
        "LLaMA",
        "decoder",
        (
            Checkpoint("meta-llama/Llama-3.2-1B", 1235.8, 973.1, "8 languages"),
            Checkpoint("HuggingFaceTB/SmolLM2-135M", 134.5, 106.2),
            Checkpoint("HuggingFaceTB/SmolLM2-360M", 361.8, 314.6),
        ),
        f"{_LAST_TOKEN} Where there is no padding token, a reserved one or the end of text pads. Up to 131,072 "
        "tokens; 512 are read unless `--max-length` says more. Trained in fp32 weights, whatever it was saved in.",
        "With a GPU, where encoders do not suffice. Access to Meta's weights must be asked for on the hub.",
    ),
    Family(
        "qwen2",
        "Qwen2, Qwen2.5",
        "decoder",
        (
            Checkpoint("Qwen/Qwen2.5-0.5B", 494.0, 357.9, "29 languages"),
            Checkpoint("Qwen/Qwen2.5-1.5B", 1543.7, 1310.3, "29 languages"),
        ),
        f"{_LAST_TOKEN} Pads with its end of text. Up to 131,072 tokens; 512 are read unless `--max-length` says more.",
        "With a GPU: many languages, Chinese above all.",
    ),
    Family(
        "qwen3",
        "Qwen3",
        "decoder",
        (
            Checkpoint("Qwen/Qwen3-0.6B-Base", 596.0, 440.5, "119 languages"),
            Checkpoint("Qwen/Qwen3-1.7B-Base", 1720.6, 1409.4, "119 languages"),
        ),
        f"{_LAST_TOKEN} Pads with its end of text. Up to 32,768 tokens; 512 are read unless `--max-length` says more.",
        "With a GPU: many languages.",
    ),
    Family(
        "gemma",
        "Gemma",
        "decoder",
        (Checkpoint("google/gemma-2b", 2506.2, 1981.9),),
        f"{_LAST_TOKEN} A vocabulary of 256,000: half a billion weights are its table.",
        "With a large GPU; Gemma 3 is smaller and newer.",
    ),
    Family(
        "gemma2",
        "Gemma 2",
        "decoder",
        (Checkpoint("google/gemma-2-2b", 2614.3, 2024.5),),
        f"{_LAST_TOKEN} {_EAGER} Every second layer sees a window of 4,096 tokens.",
        "With a large GPU; Gemma 3 is smaller and newer.",
    ),
    Family(
        "gemma3_text",
        "Gemma 3 (text)",
        "decoder",
        (
            Checkpoint("google/gemma-3-270m", 268.1, 100.3, "140 languages"),
            Checkpoint("google/gemma-3-1b-pt", 999.9, 697.9, "140 languages"),
        ),
        f"{_LAST_TOKEN} Most layers see a window of 512 tokens. Those of 4 billion weights and more read pictures too, "
        "and are refused.",
        "The small one: many languages for little work, though its vocabulary takes memory.",
        converts=False,
    ),
    Family(
        "mbart",
        "mBART",
        "encoder-decoder",
        (
            Checkpoint("facebook/mbart-large-cc25", 610.9, 352.8, "25 languages"),
            Checkpoint("facebook/mbart-large-50", 610.9, 352.8, "50 languages"),
        ),
        "Classified is the end-of-sentence token, as the decoder reads it: each text has exactly one, also where it "
        "was cut. A control token written in a text is read as unknown. Words cannot be highlighted.",
        "To compare with; XLM-RoBERTa does more for less.",
        explained=False,
        converts=False,
    ),
    Family(
        "bart",
        "BART",
        "encoder-decoder",
        (Checkpoint("facebook/bart-base", 139.4, 99.2), Checkpoint("facebook/bart-large", 406.3, 352.8)),
        "As mBART.",
        "To compare with; RoBERTa does as much for less.",
        explained=False,
    ),
)
BY_TYPE = {family.model_type: family for family in FAMILIES}
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
