"""Getting a model: a pre-trained one with a fresh head to train, or a trained one from its folder.

In: settings or a folder. Out: `Model`. A folder that is not whole is refused, with the reason.
"""

from dataclasses import replace
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, PretrainedConfig, PreTrainedTokenizerBase

from secondcoder.errors import ModelError, SettingsError
from secondcoder.model.backends import ResolvedPrecision, place, resolve_device, resolve_precision
from secondcoder.model.classifier import CARD_FILE, CARD_FORMAT, Classifier, ModelCard, not_those_saved
from secondcoder.model.families import BY_TYPE
from secondcoder.model.model import CONVERTED, CONVERTED_FILES, WEIGHTS_FILE, Model
from secondcoder.model.openvino_backend import OpenVINOBackend
from secondcoder.model.pooling import restore_short_form
from secondcoder.model.pretrained import (
    explain_loading,
    give_padding,
    load_pretrained,
    load_tokenizer,
    locate,
    quiet_transformers,
    read_config,
)
from secondcoder.model.tfidf_model import TfidfModel
from secondcoder.model.tokenisation import TextEncoder, choose_max_length, count_positions
from secondcoder.settings import (
    DEFAULT_OVERLAP,
    TFIDF,
    BackendName,
    Device,
    LongTexts,
    Precision,
    TrainSettings,
    check_overlap,
    migrate_settings,
)
from secondcoder.storage import read_json, sha256_file, sha256_strings


def start_model(
    settings: TrainSettings,
    *,
    label_names: tuple[str, ...],
    seed: int,
    positive: str | None = None,
    text_column: str | None = None,
) -> Model:
    """Return the pre-trained model that the settings name, with an untrained head for these labels.

    Raises
    ------
    ModelError
        If the model cannot be had.
    SettingsError
        If the device is not there or the maximum length too long.
    """
    device, recipe, resolved = resolve_device(settings.device), settings.planned, settings.resolved()
    pretrained = load_pretrained(
        settings.model,
        label_names=label_names,
        seed=seed,
        attention_dropout=settings.attention_dropout,
        pooling=settings.pooling,
    )
    card = ModelCard(
        label_names=label_names,
        max_length=choose_max_length(
            settings.max_length,
            pretrained.tokenizer,
            _position_limit(pretrained.network.config),
            most=recipe.max_length,
        ),
        long_texts=recipe.long_texts,
        window_overlap=resolved.window_overlap,
        window_pooling=resolved.window_pooling,
        precision=_precision(settings.precision, device, pretrained.network.config),
        base_model=settings.model,
        positive=positive,
        text_column=text_column,
    )
    # What other consumers of the folder cut at, `pipeline(..., truncation=True)` for one.
    pretrained.tokenizer.model_max_length = card.max_length
    encoder = _encoder(pretrained.tokenizer, card.max_length, card.long_texts, card.window_overlap)
    place(pretrained.network, device)
    return Model(pretrained.network, encoder, card)


def load_model(
    folder: Path | str, *, device: Device = "auto", precision: Precision = "auto", backend: BackendName = "auto"
) -> Classifier:
    """Return a saved model.

    Parameters
    ----------
    folder
        A model folder, or a run folder with one in it.
    device
        Where to compute.
    precision
        Arithmetic; auto is what the model was evaluated with.
    backend
        What computes; auto is what the model was evaluated with. Naming a device or a precision means torch.

    Raises
    ------
    MissingExtraError
        If the model was evaluated with OpenVINO, and it is not installed.
    ModelError
        If the folder is not a whole secondcoder model: no safetensors, a label count that does not match, no
        tokenizer, weights missing or not those that were saved. If this processor cannot compute as the model was
        judged.
    """
    folder = _find_model_folder(Path(folder))
    judged, saved_sha256, converted_sha256 = _read_card(folder)
    if judged.base_model != TFIDF:
        return _load_network(folder, judged, (saved_sha256, converted_sha256), device, precision, backend)
    if (device, precision, backend) != ("auto",) * 3:
        raise ModelError(
            f"{folder} is TF-IDF with logistic regression, which leaves no choice of device, precision or backend.",
            "Remove --device, --precision and --backend.",
        )
    return TfidfModel.load(folder, judged, saved_sha256)


def _load_network(
    folder: Path,
    judged: ModelCard,
    hashes: tuple[str, str],
    device: Device,
    precision: Precision,
    backend: BackendName,
) -> Model:
    """Return the transformer in a folder, whose card has been read, with the hashes that it names."""
    saved_sha256, converted_sha256 = hashes
    card = _as_told(judged, folder, device=device, precision=precision, backend=backend)
    converts = card.backend == "openvino"
    if not (folder / WEIGHTS_FILE).is_file():
        raise ModelError(f"{folder} has no {WEIGHTS_FILE}; no other form of weights is read.", "Train again.")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        raise ModelError(f"{folder} has no tokenizer.", "Copy the whole model folder, or train again.")
    sha256 = sha256_file(folder / WEIGHTS_FILE)
    if sha256 != saved_sha256:
        raise ModelError(
            not_those_saved(folder, sha256, saved_sha256),
            "Copy the model folder again, or train again.",
        )
    with explain_loading(str(folder)), quiet_transformers():
        config = read_config(str(folder))
        named = dict(config.id2label or {})
        if named != dict(enumerate(card.label_names)):
            raise ModelError(
                f"{folder}: config.json names the labels {list(named.values())}, "
                f"{CARD_FILE} names {list(card.label_names)}.",
                "Copy the whole model folder, or train again.",
            )
        network, info = AutoModelForSequenceClassification.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        restore_short_form(network)
        tokenizer = load_tokenizer(str(folder))
    if fresh := sorted(info["missing_keys"]):
        raise ModelError(
            f"{folder} lacks the weights {', '.join(fresh[:3])}; they would be random.",
            "Copy it again, or train again.",
        )
    if not converts and not BY_TYPE[config.model_type].computes_bf16:
        card = replace(card, precision=_precision(precision, resolve_device(device), config))
    encoder = _encoder(tokenizer, card.max_length, card.long_texts, card.window_overlap)
    place(network, torch.device("cpu") if converts else resolve_device(device))
    if not converts:
        model = Model(network, encoder, card, sha256)
        if card != judged:
            model.judged_with = f"{judged.precision} by {judged.backend}"
        return model
    model = Model(network, encoder, card, converted_sha256)
    model.backend = OpenVINOBackend.load(_whole(folder / CONVERTED, converted_sha256), card.precision)
    return model


def load_encoder(
    name: str,
    *,
    max_length: int | None = None,
    long_texts: LongTexts | None = None,
    window_overlap: float | None = None,
) -> TextEncoder:
    """Return the tokenisation of a run, a model folder or a pre-trained model, without its weights.

    Parameters
    ----------
    name
        A folder, a hub name, or ``minilm``.
    max_length, long_texts, window_overlap
        In place of the model's own.

    Raises
    ------
    ModelError
        If there is no such model.
    SettingsError
        If the options do not go together, or not with the model.
    """
    if window_overlap is not None:
        check_overlap(window_overlap)
    if (Path(name).is_dir() and not (Path(name) / "config.json").is_file()) or (Path(name) / CARD_FILE).is_file():
        folder = _find_model_folder(Path(name))
        card, _, _ = _read_card(folder)
        if card.base_model == TFIDF:
            raise _no_tokens(name)
        with explain_loading(name), quiet_transformers():
            read_config(str(folder))  # refused as it would be with its weights
            tokenizer = load_tokenizer(str(folder))
        limit = choose_max_length(max_length or card.max_length, tokenizer, card.max_length)
        long_texts, overlap = long_texts or card.long_texts, card.window_overlap
    elif name == TFIDF:
        raise _no_tokens(name)
    else:
        location = locate(name)
        with explain_loading(name), quiet_transformers():
            config, tokenizer = read_config(location), load_tokenizer(location)
        give_padding(tokenizer, config, name)
        limit = choose_max_length(max_length, tokenizer, _position_limit(config))
        long_texts, overlap = long_texts or "truncate", None
    if window_overlap is not None and long_texts != "windows":
        raise SettingsError(
            f"window_overlap is {window_overlap:g}, and long texts are not read in windows.",
            "Add --long-texts windows, or remove it.",
        )
    overlap = overlap if window_overlap is None else window_overlap
    return _encoder(tokenizer, limit, long_texts, overlap)


def _no_tokens(name: str) -> ModelError:
    return ModelError(
        f"{name} is TF-IDF with logistic regression, which counts words and characters and has no tokens.",
        "Name a pre-trained model, or a run of one.",
    )


def _as_told(card: ModelCard, folder: Path, *, device: Device, precision: Precision, backend: BackendName) -> ModelCard:
    """Return the card with the backend and the precision that will be computed with."""
    told = (device, precision) != ("auto", "auto")
    if backend == "openvino" and (told or card.backend != "openvino"):
        raise ModelError(
            "With OpenVINO a model computes as it was judged, with no choice of device or precision."
            if told
            else f"{folder} was not judged with OpenVINO.",
            "Remove --device and --precision." if told else "Remove --backend, or train with the extra fast installed.",
        )
    if card.backend == "openvino" and (backend == "torch" or told):
        return replace(card, backend="torch", precision=resolve_precision(precision, resolve_device(device)))
    return card if precision == "auto" else replace(card, precision=precision)


def _find_model_folder(folder: Path) -> Path:
    for candidate in (folder, folder / "model"):
        if (candidate / CARD_FILE).is_file():
            return candidate
    there = f"there is no {CARD_FILE} in it" if folder.exists() else "there is no such folder"
    raise ModelError(
        f"{folder} is not a secondcoder model or run: {there}.", "Name the folder that secondcoder train wrote."
    )


def _whole(folder: Path, saved_sha256: str) -> Path:
    """Return the folder of what was converted; refuse it if it is not what was saved."""
    paths = [folder / name for name in CONVERTED_FILES]
    if not all(path.is_file() for path in paths) or sha256_strings([sha256_file(p) for p in paths]) != saved_sha256:
        raise ModelError(f"{folder} is not what was saved.", "Copy the model folder again, or use --backend torch.")
    return folder


def _read_card(folder: Path) -> tuple[ModelCard, str, str]:
    """Return the card and the hashes of the weights and of what was converted, the last empty if nothing was."""
    values = read_json(folder / CARD_FILE)
    try:
        if values.pop("format") != CARD_FORMAT:
            raise ModelError(f"{folder / CARD_FILE} is of a newer format.", "Update secondcoder.")
        sha256, converted = values.pop("weights_sha256"), values.pop("converted_sha256", "")
        values = migrate_settings(values)
        return ModelCard(**{**values, "label_names": tuple(values["label_names"])}), sha256, converted
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{folder / CARD_FILE} is damaged: {error}.", "Copy it again, or train again.") from error


def _encoder(
    tokenizer: PreTrainedTokenizerBase, max_length: int, long_texts: LongTexts, overlap: float | None
) -> TextEncoder:
    overlap = DEFAULT_OVERLAP if overlap is None else overlap
    return TextEncoder(tokenizer, max_length=max_length, long_texts=long_texts, window_overlap=overlap)


def _position_limit(config: PretrainedConfig) -> int | None:
    behind = BY_TYPE[config.model_type].positions_behind_padding
    return count_positions(config, config.pad_token_id if behind else None)


def _precision(asked: Precision, device: torch.device, config: PretrainedConfig) -> ResolvedPrecision:
    """Return the precision asked for; auto is one that this kind of network can compute in."""
    if BY_TYPE[config.model_type].computes_bf16:
        return resolve_precision(asked, device)
    if asked == "bf16":
        raise SettingsError(
            f"precision is bf16, which networks of the kind {config.model_type!r} cannot compute in.",
            "Remove --precision, or set fp32.",
        )
    return "fp32"
