import numpy as np
import pytest

from secondcoder.model.loading import load_encoder
from secondcoder.model.token_cache import TokenCache
from secondcoder.model.tokenisation import TextEncoder
from tests.tiny import make_rows

TEXTS = [text for text, _ in make_rows(20)]


@pytest.fixture
def encoder(encoder_folder) -> TextEncoder:
    return load_encoder(str(encoder_folder))


@pytest.fixture
def tokenised(monkeypatch) -> list[int]:
    """How many texts each call of the tokenizer was given."""
    calls, real = [], TextEncoder.encode

    def spy(self, texts):
        calls.append(len(texts))
        return real(self, texts)

    monkeypatch.setattr(TextEncoder, "encode", spy)
    return calls


def same(a, b) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("ids", "offsets", "full_lengths"))


def test_texts_are_tokenised_once_and_come_back_as_they_were(encoder, tokenised, tmp_path):
    first, second = (TokenCache(tmp_path / "tokens").encode(encoder, TEXTS) for _ in range(2))
    assert same(first, second)
    assert second.ids.dtype == first.ids.dtype
    assert tokenised == [20]


def test_other_texts_lengths_or_cuts_are_tokenised_anew(encoder, encoder_folder, tokenised, tmp_path):
    cache = TokenCache(tmp_path)
    shorter = load_encoder(str(encoder_folder), max_length=10)
    both_ends = load_encoder(str(encoder_folder), max_length=10, long_texts="head-tail")
    cache.encode(encoder, TEXTS)
    cache.encode(encoder, [*TEXTS[:-1], "another one"])
    found = cache.encode(shorter, TEXTS), cache.encode(both_ends, TEXTS)
    assert tokenised == [20, 20, 20, 20]
    assert found[0].lengths.max() == 10
    assert not same(*found)


def test_a_damaged_file_is_made_again(encoder, tokenised, tmp_path):
    cache = TokenCache(tmp_path)
    whole = cache.encode(encoder, TEXTS)
    (path,) = tmp_path.glob("*.safetensors")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    assert same(cache.encode(encoder, TEXTS), whole)
    path.write_bytes(b"")
    assert same(cache.encode(encoder, TEXTS), whole)
    assert same(cache.encode(encoder, TEXTS), whole)
    assert tokenised == [20, 20, 20]


def test_where_nothing_can_be_kept_it_does_without(encoder, tokenised, tmp_path):
    blocked = tmp_path / "a file"
    blocked.write_text("")
    TokenCache(blocked / "tokens").encode(encoder, TEXTS)
    TokenCache(None).encode(encoder, TEXTS)
    assert tokenised == [20, 20]


def test_the_longest_unused_are_forgotten(encoder, tmp_path):
    cache = TokenCache(tmp_path)
    for i in range(25):
        cache.encode(encoder, [f"text {i}"])
    assert len(list(tmp_path.iterdir())) == 20
