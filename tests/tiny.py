"""Tiny pre-trained models and tokenizers, made on the spot, so that no test downloads anything."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random
from string import ascii_lowercase

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, BertTokenizerFast

FILLER = "the a we will and of to in our their this year every more less new british people".split()
SUBJECTS = {
    "economic": "tax taxes market trade jobs growth".split(),
    "social": "school schools health care children police".split(),
}
WORDS = [*FILLER, *(word for words in SUBJECTS.values() for word in words)]


def make_rows(n: int, seed: int = 0, longest: int = 20) -> list[tuple[str, str]]:
    """Return n texts, no two alike, with the label that two of their words give away."""
    random = Random(seed)
    rows: dict[str, str] = {}
    while len(rows) < n:
        label = ("economic", "social")[len(rows) % 2]
        words = random.choices(FILLER, k=random.randint(3, longest)) + random.choices(SUBJECTS[label], k=2)
        random.shuffle(words)
        rows.setdefault(" ".join(words), label)
    return list(rows.items())


def make_wordpiece_tokenizer(texts: Iterable[str], vocabulary: int = 400) -> BertTokenizerFast:
    """Return a lower-casing WordPiece tokenizer that knows the texts' letters and their most frequent words.

    The library's trainer gives another vocabulary in each process; this one is always the same.
    """
    counts = Counter(word for text in texts for word in text.lower().split())
    letters = sorted({letter for word in counts for letter in word} | set(ascii_lowercase))
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"[].", *letters, *(f"##{letter}" for letter in letters)]
    words = sorted(counts, key=lambda word: (-counts[word], word))
    known = list(dict.fromkeys([*known, *words]))[: max(vocabulary, len(known))]
    ids = {token: i for i, token in enumerate(known)}
    tokenizer = Tokenizer(models.WordPiece(vocab=ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    return BertTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, clean_up_tokenization_spaces=False)


def make_encoder(folder: Path, texts: Iterable[str] = WORDS, seed: int = 0) -> Path:
    """Save a tiny BERT encoder without a classification head, as a pre-trained model comes; return its folder."""
    tokenizer = make_wordpiece_tokenizer(texts)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = BertModel(
            BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=64,
                max_position_embeddings=64,
            )
        )
    encoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
