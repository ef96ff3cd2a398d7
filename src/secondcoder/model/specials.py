"""Special tokens: which one pads, and which ones a text must not be turned into.

In: a tokenizer. Out: ids; or the reason why the tokenizer cannot be used.
"""

from transformers import PretrainedConfig, PreTrainedTokenizerBase

from secondcoder.errors import ModelError

# Names under which vocabularies keep a token that was never trained on and may pad, the most telling first.
_RESERVED = ("<|finetune_right_pad_id|>", "<|pad|>", "<pad>", "[PAD]", "<|padding|>")


def give_padding(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, name: str) -> None:
    """Let a tokenizer that has no padding token use one of its own tokens for it.

    The model's own choice first, then a reserved token, then the end of sentence, which GPT-2 and LLaMA have. Padding
    is masked whatever it is. Networks that classify the last token that is not padding skip a trailing end of
    sentence then, of every text alike.

    Raises
    ------
    ModelError
        If it has none that could pad.
    """
    tokenizer.padding_side = tokenizer.truncation_side = "right"  # as `TextEncoder` does it; stored with the model
    if tokenizer.pad_token_id is not None:
        return
    known = tokenizer.get_vocab()
    own = getattr(config, "pad_token_id", None)
    special = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    chosen = [special[own]] if own in special else []  # a number that is a word here was meant for another tokenizer
    found = next(iter([*chosen, *(token for token in _RESERVED if token in known)]), tokenizer.eos_token)
    if found is None:
        raise ModelError(
            f"{name}: the tokenizer has neither a padding token nor an end of sentence that could pad.",
            "Choose another model.",
        )
    tokenizer.pad_token = found


def require_known(tokenizer: PreTrainedTokenizerBase, size: int, name: str) -> None:
    """Raise `ModelError` if the tokenizer puts tokens around texts that the network of `size` tokens does not have."""
    used = {tokenizer.pad_token_id, *tokenizer("a", verbose=False)["input_ids"]}
    if unknown := sorted(i for i in used if i >= size):
        tokens = ", ".join(map(repr, tokenizer.convert_ids_to_tokens(unknown)))
        raise ModelError(
            f"{name}: the tokenizer uses {tokens} (id {unknown[0]}), and the network knows {size} tokens.",
            "Tokenizer and weights are of two models; get both from one place.",
        )


def obeyed(tokenizer: PreTrainedTokenizerBase) -> dict[int, int]:
    """Return which control tokens the tokenizer reads where they are written out in a text, and as what instead.

    Most split ``[SEP]`` into its characters when they are told to. Vocabularies that came from SentencePiece hold their
    control tokens among the pieces of words, and so find ``</s>`` in a text; it is read as unknown then.

    Raises
    ------
    ModelError
        If the tokenizer has no token for what is unknown.
    """
    controls = {i: token for token, i in zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)}
    unknown = tokenizer.unk_token_id
    found = {
        i
        for i, token in controls.items()
        if i != unknown and i in tokenizer(f"a {token} b", add_special_tokens=False, verbose=False)["input_ids"]
    }
    if found and unknown is None:
        raise ModelError(
            f"The tokenizer {type(tokenizer).__name__} reads {controls[min(found)]!r} in a text as a command.",
            "Choose another model.",
        )
    return dict.fromkeys(found, unknown)
