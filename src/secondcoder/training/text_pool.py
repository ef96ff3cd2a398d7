"""Texts that several trainings of one model share: folds of the same rows, or seeds.

In: all the texts, and those of one training. Out: their token ids, and what frozen layers make of them, as if that
training had computed them by itself: the same bits, computed once for all.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from secondcoder.model.model import Model
from secondcoder.model.token_cache import TokenCache
from secondcoder.model.tokenisation import Encoded, TextEncoder
from secondcoder.progress import Progress
from secondcoder.training.activation_cache import ActivationInputs, inputs_for
from secondcoder.training.steps import Inputs
from secondcoder.training.trainable import Frozen


class TextPool:
    """Texts of several trainings, by the same pre-trained model and settings.

    As a context manager, it removes what it put on the disk at the end.

    Parameters
    ----------
    texts
        All that trainings learn from; what else is asked for is computed for the asking training alone.
    path
        File for what frozen layers make of them; it is made when it is first asked for. None: nothing is shared but
        token ids.
    tokens
        Where token ids are kept for other runs.
    """

    def __init__(self, texts: Sequence[str] = (), path: Path | None = None, tokens: TokenCache | None = None) -> None:
        self._texts, self._path, self._tokens = tuple(texts), path, tokens or TokenCache(None)
        self._place = {text: i for i, text in enumerate(self._texts)}
        self._encoded: Encoded | None = None
        self._kept: ActivationInputs | None = None
        self._refused = path is None

    def __enter__(self) -> "TextPool":
        return self

    def __exit__(self, *_: object) -> None:
        self._kept = None
        if self._path is not None and self._path.exists():
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def encode(self, encoder: TextEncoder, texts: Sequence[str]) -> Encoded:
        """Return the token ids of the texts, as ``encoder.encode`` gives them.

        Raises
        ------
        DataError
            If a text holds a lone surrogate, which no tokenizer can read.
        """
        if tuple(texts) == self._texts:
            return self._whole(encoder)
        places = self._places(texts)
        return self._tokens.encode(encoder, texts) if places is None else self._whole(encoder).take(places)

    def inputs_for(
        self,
        model: Model,
        texts: Sequence[str],
        encoded: Encoded,
        frozen: Frozen,
        *,
        path: Path | None,
        progress: Progress,
    ) -> tuple[Inputs, Frozen | None]:
        """Return what `secondcoder.training.activation_cache.inputs_for` does for these texts, which are `encoded`.

        Where nothing can be shared, what frozen layers make of them goes to `path`, which the caller removes; None
        keeps nothing.
        """
        places = self._places(texts)
        if places is not None and path is not None and not self._refused and self._kept is None:
            whole, _ = inputs_for(model, self._whole(model.encoder), frozen, path=self._path, progress=progress)
            self._kept = whole if isinstance(whole, ActivationInputs) else None
            self._refused = self._kept is None
        if places is None or path is None or self._kept is None:
            return inputs_for(model, encoded, frozen, path=path, progress=progress)
        model.network.eval()  # as it is where they have just been computed
        return self._kept.take(places, self._whole(model.encoder)), frozen

    def _places(self, texts: Sequence[str]) -> NDArray[np.int64] | None:
        """Return the place of each text in the pool, or None if one is not there."""
        found = [self._place.get(text, -1) for text in texts]
        return None if -1 in found else np.array(found, np.int64)

    def _whole(self, encoder: TextEncoder) -> Encoded:
        if self._encoded is None:
            self._encoded = self._tokens.encode(encoder, self._texts)
        return self._encoded
