"""Tiny models of every family, each with a tokenizer of its own kind, as a user has them: an encoder without a head.

Tokenizers are trained on the spot by `tokenizers`, and put into the class that transformers gives the family.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AlbertTokenizer,
    AutoConfig,
    AutoModel,
    BertTokenizer,
    CamembertTokenizer,
    DebertaTokenizer,
    DebertaV2Tokenizer,
    GemmaTokenizer,
    GPT2Tokenizer,
    LlamaTokenizer,
    MBartTokenizer,
    MPNetTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)

from secondcoder.model.pretrained import quiet_transformers
from tests.tiny import WORDS, make_rows, make_wordpiece_tokenizer

TEXTS = [text for text, _ in make_rows(200)]
LENGTH = 64
SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": LENGTH,
}
DECODER = SIZE | {"num_key_value_heads": 1, "head_dim": 16}
OFFSET = SIZE | {"max_position_embeddings": LENGTH + 2, "type_vocab_size": 1}  # positions count from behind the padding
SEQ2SEQ = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": LENGTH,
}
ROBERTA_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
BERT_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def train_bpe(special: tuple[str, ...], *, spaces: str = "bytes") -> dict[str, Any]:
    """Return vocabulary and merges of a BPE: byte-level, or with blanks as ▁ as SentencePiece writes them."""
    tokenizer = Tokenizer(models.BPE())
    alphabet: list[str] = []
    if spaces == "bytes":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=list(special), initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    found = json.loads(tokenizer.to_str())["model"]
    vocabulary = found["vocab"]
    if spaces != "bytes":  # what is not known is spelled out in bytes
        for byte in range(256):
            vocabulary.setdefault(f"<0x{byte:02X}>", len(vocabulary))
    return {"vocab": vocabulary, "merges": [tuple(merge) for merge in found["merges"]]}


def train_unigram(special: tuple[str, ...]) -> list[tuple[str, float]]:
    """Return pieces with their scores; control tokens among them, as where a SentencePiece model was converted."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=200, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    # Rounded, as the last bits of the scores differ from process to process.
    pieces = [(piece, round(score, 4)) for piece, score in json.loads(tokenizer.to_str())["model"]["vocab"]]
    # And the words, which a trainer wants more text to take for pieces.
    known = {"<unk>", *(piece for piece, _ in pieces)}
    pieces += [(f"▁{word}", -5.0) for word in WORDS if f"▁{word}" not in known]
    ordered = sorted((p for p in pieces if p[0] != "<unk>"), key=lambda piece: (-piece[1], piece[0]))
    return [*((token, 0.0) for token in special), *ordered]


def wordpiece() -> PreTrainedTokenizerBase:
    return BertTokenizer(vocab=make_wordpiece_tokenizer(TEXTS).get_vocab(), model_max_length=LENGTH)


def mpnet() -> PreTrainedTokenizerBase:
    vocabulary = make_wordpiece_tokenizer(TEXTS).get_vocab()
    ordered = sorted(vocabulary, key=vocabulary.__getitem__)
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "[UNK]", *(t for t in ordered if t not in BERT_TOKENS), "<mask>"]
    return MPNetTokenizer(vocab={token: i for i, token in enumerate(tokens)}, model_max_length=LENGTH)


def roberta() -> PreTrainedTokenizerBase:
    return RobertaTokenizer(**train_bpe(ROBERTA_TOKENS))


def gpt2() -> PreTrainedTokenizerBase:
    """Without a padding token, as GPT-2 comes."""
    return GPT2Tokenizer(**train_bpe(("<|endoftext|>",)), model_max_length=1024)


def llama() -> PreTrainedTokenizerBase:
    """Without a padding token, padding on the left."""
    return LlamaTokenizer(**train_bpe(("<unk>", "<s>", "</s>"), spaces="▁"), add_bos_token=True)


def llama3() -> PreTrainedTokenizerBase:
    """Byte-level, in no class of its own, with an end of sentence behind each text that pads too."""
    found = train_bpe(("<|begin_of_text|>", "<|end_of_text|>"))
    tokenizer = Tokenizer(models.BPE(**found))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|begin_of_text|>",
        eos_token="<|end_of_text|>",
        pad_token="<|end_of_text|>",
        add_bos_token=True,
        add_eos_token=True,
        model_max_length=131072,
    )
    made.update_post_processor()
    return made


def modernbert() -> PreTrainedTokenizerBase:
    found = train_bpe(BERT_TOKENS)
    tokenizer = Tokenizer(models.BPE(**found))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=8192, **special)
    ids = made.get_vocab()
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")],
    )
    return made


def qwen() -> PreTrainedTokenizerBase:
    """Pads with its end of text."""
    return Qwen2Tokenizer(**train_bpe(("<|endoftext|>", "<|im_start|>", "<|im_end|>")), model_max_length=131072)


def gemma() -> PreTrainedTokenizerBase:
    """Padding on the left, with a token before each text."""
    return GemmaTokenizer(**train_bpe(("<pad>", "<eos>", "<bos>", "<unk>", "<mask>"), spaces="▁"), add_bos_token=True)


def xlm_roberta() -> PreTrainedTokenizerBase:
    return XLMRobertaTokenizer(vocab=train_unigram(ROBERTA_TOKENS), model_max_length=512)


def camembert() -> PreTrainedTokenizerBase:
    special = ("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>", "<mask>")
    return CamembertTokenizer(vocab=train_unigram(special), model_max_length=512)


def albert() -> PreTrainedTokenizerBase:
    return AlbertTokenizer(vocab=train_unigram(("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")), model_max_length=512)


def deberta() -> PreTrainedTokenizerBase:
    return DebertaTokenizer(**train_bpe(("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")))


def deberta_v2() -> PreTrainedTokenizerBase:
    return DebertaV2Tokenizer(vocab=train_unigram(("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")))


def mbart() -> PreTrainedTokenizerBase:
    return MBartTokenizer(vocab=[*train_unigram(ROBERTA_TOKENS), ("en_XX", 0.0)], src_lang="en_XX")


@dataclass(frozen=True)
class Tiny:
    """How to build a tiny model of a family.

    Attributes
    ----------
    model_type
        transformers' name of the kind of network.
    size
        Arguments of its configuration class.
    tokenizer
        Makes its tokenizer.
    rate
        Learning rate at which so small a network of the kind learns 32 sentences by heart.
    """

    model_type: str
    tokenizer: Callable[[], PreTrainedTokenizerBase]
    size: dict[str, Any] = field(default_factory=lambda: dict(SIZE))
    rate: float = 5e-3


FAMILIES = {
    "bert": Tiny("bert", wordpiece),
    "minilm": Tiny("bert", wordpiece, SIZE | {"hidden_size": 48, "num_attention_heads": 4}),
    "distilbert": Tiny(
        "distilbert",
        wordpiece,
        {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": LENGTH},
    ),
    "electra": Tiny("electra", wordpiece, SIZE | {"embedding_size": 16}),
    "mpnet": Tiny("mpnet", mpnet, SIZE | {"max_position_embeddings": LENGTH + 2}),
    "roberta": Tiny("roberta", roberta, OFFSET),
    "xlm-roberta": Tiny("xlm-roberta", xlm_roberta, OFFSET),
    "camembert": Tiny("camembert", camembert, OFFSET),
    "longformer": Tiny("longformer", roberta, OFFSET | {"attention_window": [8, 8]}),
    "albert": Tiny("albert", albert, SIZE | {"embedding_size": 16}, rate=2e-3),
    "deberta": Tiny(
        "deberta",
        deberta,
        SIZE | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0},
    ),
    "deberta-v2": Tiny(
        "deberta-v2",
        deberta_v2,
        SIZE
        | {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 16,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
    ),
    "modernbert": Tiny(
        "modernbert",
        modernbert,
        SIZE | {"max_position_embeddings": 8192, "local_attention": 8, "global_attn_every_n_layers": 2},
    ),
    "gpt2": Tiny("gpt2", gpt2, {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": LENGTH}),
    "llama": Tiny("llama", llama, DECODER | {"max_position_embeddings": 131072}),
    "llama-3": Tiny("llama", llama3, DECODER | {"max_position_embeddings": 131072}),
    "qwen2": Tiny("qwen2", qwen, DECODER | {"max_position_embeddings": 32768}),
    "qwen3": Tiny("qwen3", qwen, DECODER | {"max_position_embeddings": 32768}),
    "gemma": Tiny("gemma", gemma, DECODER),
    "gemma2": Tiny("gemma2", gemma, DECODER | {"sliding_window": 8, "query_pre_attn_scalar": 16}),
    "gemma3_text": Tiny("gemma3_text", gemma, DECODER | {"sliding_window": 8, "query_pre_attn_scalar": 16}),
    "mbart": Tiny("mbart", mbart, SEQ2SEQ),
    "bart": Tiny("bart", roberta, SEQ2SEQ),
}


def build(name: str, folder: Path, *, dtype: torch.dtype = torch.float32, seed: int = 0, **more: Any) -> Path:
    """Save a tiny pre-trained encoder of the family, without a classification head; return its folder."""
    tiny = FAMILIES[name]
    tokenizer = tiny.tokenizer()
    special = {
        f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id", None) for kind in ("pad", "bos", "eos", "cls", "sep")
    }
    if tokenizer.pad_token_id is None:  # as the hub's configurations of such models are
        special["pad_token_id"] = None
    config = AutoConfig.for_model(
        tiny.model_type, vocab_size=len(tokenizer), use_cache=True, **{**tiny.size, **special, **more}
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = AutoModel.from_config(config, dtype=torch.float32)
    with quiet_transformers():
        encoder.to(dtype).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder
