"""Tiny classifiers of some families, with random weights and no tokenizer."""

from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    GPT2Config,
    LlamaConfig,
    MPNetConfig,
    PretrainedConfig,
    PreTrainedModel,
)

VOCABULARY, HIDDEN = 60, 16
SIZE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
    "use_cache": False,  # as models are loaded here: what goes through a cache is copied, and other kernels compute
}


def config_of(family: str, **more: Any) -> PretrainedConfig:
    if family == "gpt2":
        size = {"n_embd": HIDDEN, "n_layer": 2, "n_head": 2, "n_positions": 40, "pad_token_id": 0, "use_cache": False}
        return GPT2Config(vocab_size=VOCABULARY, bos_token_id=1, eos_token_id=2, num_labels=2, **size | more)
    if family == "llama":
        return LlamaConfig(num_labels=2, attention_dropout=0.1, num_key_value_heads=1, **SIZE | more)
    kind = {"bert": BertConfig, "mpnet": MPNetConfig}[family]
    return kind(num_labels=2, **SIZE | more)


def network_of(family: str, seed: int = 0, **more: Any) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network: PreTrainedModel = AutoModelForSequenceClassification.from_config(config_of(family, **more))
    return network


def batch(rows: int = 4, tokens: int = 12, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, VOCABULARY, (rows, tokens), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, tokens // 2 :] = 0
    return {"input_ids": ids * mask, "attention_mask": mask}
