"""Which models may be loaded: looked at in their configuration, before anything of them is.

In: a model's ``config.json`` and ``tokenizer_config.json`` as plain values. Out: its family, or the reason why not.

The kind of network is held against an allow-list, `secondcoder.model.families`. Of the other keys those are refused
that make transformers run code from elsewhere, or compute something else than the family does. Keys that nobody knows
are let pass: hub configurations carry many, and a network reads only those that its own class defines.
"""

import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.utils.hub import cached_file

from secondcoder.errors import ModelError, nearest
from secondcoder.model.families import BY_TYPE, Family

_CODE = ("auto_map", "trust_remote_code", "custom_pipelines", "custom_pipeline", "custom_generate", "custom_code")
_QUANTISED = ("quantization_config", "compression_config")
_ATTENTION = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
# Of these the angles of a token depend on how long the whole padded batch is: a text would have several scores.
_MOVING_ROPES = {"dynamic", "longrope", "su"}
_ADAPTER = "adapter_config.json"


def check_config(values: Mapping[str, Any], name: str) -> Family:
    """Return the family of a model by its configuration.

    Parameters
    ----------
    values
        What is in ``config.json``.
    name
        What the model is called, for messages.

    Raises
    ------
    ModelError
        If it brings code of its own, is of no family in the table, has quantised weights, or is configured to do
        something else than classify texts one by one.
    """
    _refuse_code(values, name)
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in BY_TYPE:
        raise _unknown(kind, name)
    family = BY_TYPE[kind]
    for key in _QUANTISED:
        if values.get(key):
            raise ModelError(
                f"{name} has quantised weights ({key} in config.json), which cannot be fine-tuned.",
                "Name the model that it was made from.",
            )
    for key in ("is_decoder", "add_cross_attention"):
        if values.get(key) and family.kind == "encoder":
            raise ModelError(
                f"{name} is configured as half of a translator ({key} in config.json): its first token sees no text.",
                "Choose an encoder.",
            )
    ropes = {key: values.get(key) for key in ("rope_scaling", "rope_parameters")}
    if moving := _MOVING_ROPES & set(_rope_types(ropes)):
        raise ModelError(
            f"{name} has dynamic RoPE ({', '.join(moving)}): scores would depend on the batch.",
            "Choose another model; a text must have one score.",
        )
    return family


def check_files(location: str, name: str) -> None:
    """Raise `ModelError` if a model's tokenizer brings code of its own, or it is an adapter to another model.

    Parameters
    ----------
    location
        A folder or a hub name.
    name
        What the model is called, for messages.
    """
    _refuse_code(get_tokenizer_config(location, trust_remote_code=False), name, what="Its tokenizer brings")
    there = Path(location).is_dir()
    # transformers would load the model that the adapter names, unasked, if it could.
    if (Path(location) / _ADAPTER).is_file() or (
        not there
        and importlib.util.find_spec("peft")
        and cached_file(location, _ADAPTER, _raise_exceptions_for_missing_entries=False)
    ):
        raise ModelError(
            f"{name} is an adapter to another model ({_ADAPTER}), not a model.",
            "Merge it into its model first (peft: merge_and_unload), or name that model.",
        )


def _refuse_code(values: Mapping[str, Any], name: str, *, what: str = "") -> None:
    for key in _CODE:
        if values.get(key):
            raise ModelError(
                f"{name}: {what or 'it brings'} code of its own ({key}: {json.dumps(values[key])}), which secondcoder "
                "never runs.",
                "Choose a model that transformers knows; secondcoder models lists them.",
            )
    for key in _ATTENTION:
        asked = values.get(key)
        if isinstance(asked, str) and "/" in asked:
            raise ModelError(
                f"{name} brings code of its own: attention from {asked!r}, which would be fetched from the hub.",
                "Choose another model, or remove the key from config.json in a copy of it.",
            )


def _unknown(kind: object, name: str) -> ModelError:
    known = ", ".join(sorted(BY_TYPE))
    if kind is None:
        return ModelError(
            f"{name} does not say what kind of network it is: config.json has no model_type.",
            f"Add it in a copy of the model's folder, if you know it; it can be {known}.",
        )
    hint = nearest(str(kind), BY_TYPE) if isinstance(kind, str) else ""
    if kind == "gemma3":
        hint = "It reads pictures too; of Gemma 3, the models of 270 million and 1 billion weights read text only. "
    return ModelError(
        f"{name} is a network of the kind {kind!r}, which has not been tested here: whether it reads padding, or a "
        "text's neighbours, as text is not known.",
        f"{hint}Kinds that were tested: {known}; secondcoder models lists them.",
    )


def _rope_types(values: object) -> Iterator[str]:
    """Yield the kinds of rotary positions that are named anywhere in a value: some models have one for each layer."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            if key in ("rope_type", "type") and isinstance(value, str):
                yield value
            else:
                yield from _rope_types(value)
