from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from secondcoder.errors import DataError, ModelError, SettingsError
from secondcoder.model.loading import load_encoder
from secondcoder.model.pretrained import load_tokenizer
from secondcoder.model.tokenisation import TextEncoder, choose_max_length, count_positions
from tests.tiny import WORDS


@pytest.fixture(scope="module")
def encoder(encoder_folder: Path) -> TextEncoder:
    return TextEncoder(load_tokenizer(str(encoder_folder)), max_length=16)


def test_a_literal_control_token_is_text_also_in_the_saved_tokenizer(encoder, tmp_path):
    separator = encoder.tokenizer.sep_token_id
    assert separator not in encoder.encode(["tax [SEP] school"])[0][1:-1]
    encoder.tokenizer.save_pretrained(tmp_path)
    saved = AutoTokenizer.from_pretrained(tmp_path)
    assert saved("tax [SEP] school")["input_ids"].count(separator) == 1


def test_a_tokenizer_that_would_obey_a_text_is_refused(encoder_folder):
    with pytest.raises(ModelError, match="control token"):
        TextEncoder(AutoTokenizer.from_pretrained(encoder_folder), max_length=16)


@given(st.lists(st.lists(st.sampled_from([*WORDS, "[SEP]", "é", "日本", ""]), max_size=30).map(" ".join), max_size=8))
def test_head_truncation_is_the_tokenizers_own(texts):
    encoder = _shared_encoder()
    encoded = encoder.encode(texts)
    for i, text in enumerate(texts):
        expected = encoder.tokenizer(text, truncation=True, max_length=16)["input_ids"]
        assert encoded[i].tolist() == expected
        whole = encoder.tokenizer(text, verbose=False)["input_ids"]
        assert encoded.full_lengths[i] == len(whole)
        assert encoded.truncated[i] == (len(whole) > 16)


def test_head_and_tail_keep_both_ends(encoder):
    both = TextEncoder(encoder.tokenizer, max_length=8, long_texts="head-tail")
    text = "tax market trade jobs growth school health care children police"
    content = encoder.tokenizer(text, add_special_tokens=False)["input_ids"]
    kept = both.encode([text])[0].tolist()
    assert kept[1:-1] == content[:3] + content[-3:]
    assert len(kept) == 8


def test_what_is_read_and_what_is_cut_make_the_whole_text(encoder):
    text = "tax school " * 12
    seen = encoder.inspect(text)
    assert len(seen.ids) == len(seen.tokens) == len(seen.attention_mask) == 16
    assert set(seen.attention_mask) == {1}
    assert seen.tokens[1:-1] + seen.cut == encoder.tokenizer.tokenize(text)


def test_texts_are_encoded_alike_alone_and_in_company(encoder):
    texts = [" ".join(WORDS[:n]) for n in range(1, 1500, 7)] * 8
    together = encoder.encode(texts)
    assert all(np.array_equal(together[i], encoder.encode([texts[i]])[0]) for i in range(0, len(texts), 97))


def test_a_batch_is_padded_and_filled_up_to_its_shape(encoder):
    encoded = encoder.encode(["tax", "tax and school"])
    batch = encoder.batch(encoded, np.array([1, 0]), (3, 8))
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (3, 8)
    assert batch["attention_mask"].sum(dim=1).tolist() == [*encoded.lengths[[1, 0]], 1]
    assert batch["input_ids"][0, : encoded.lengths[1]].tolist() == encoded[1].tolist()
    assert (batch["input_ids"][1, encoded.lengths[0] :] == encoder.tokenizer.pad_token_id).all()


def test_half_a_character_is_refused_with_its_row(encoder):
    with pytest.raises(DataError, match=r"Text 2 .* position 4"):
        encoder.encode(["tax", "tax \ud83d"])


def test_the_maximum_length_is_the_models_own_and_at_most_512(encoder):
    assert choose_max_length(None, encoder.tokenizer, 64) == 64
    assert choose_max_length(None, encoder.tokenizer, None) == 64
    assert choose_max_length(32, encoder.tokenizer, 64) == 32
    with pytest.raises(SettingsError, match="at most 64"):
        choose_max_length(65, encoder.tokenizer, 64)


def test_positions_behind_the_padding_index_are_not_counted(encoder_folder):
    from transformers import BertConfig

    assert count_positions(BertConfig(max_position_embeddings=514), 1) == 512
    assert count_positions(BertConfig(max_position_embeddings=512), None) == 512


def test_a_maximum_length_without_room_for_text_is_refused(encoder):
    with pytest.raises(SettingsError, match="leave no room"):
        TextEncoder(encoder.tokenizer, max_length=2)


_SHARED: list[TextEncoder] = []


@pytest.fixture(autouse=True)
def _share(encoder_folder):
    """Hypothesis wants no function-scoped fixture: hand the encoder over once."""
    if not _SHARED:
        _SHARED.append(load_encoder(str(encoder_folder), max_length=16))


def _shared_encoder() -> TextEncoder:
    return _SHARED[0]
