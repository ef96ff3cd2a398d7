"""The end of a training: what came out of it is kept, compared, judged and reported.

In: the trained model and how its training went. Out: a finished run folder.
"""

import shutil
from typing import cast

import numpy as np

from secondcoder.corpus.corpus import Corpus
from secondcoder.corpus.splits import Split
from secondcoder.errors import ModelError
from secondcoder.model.encoding import describe_lengths
from secondcoder.model.loading import load_model
from secondcoder.model.model import Model
from secondcoder.recording import finish_run, since
from secondcoder.run_folder import now
from secondcoder.runs import Run
from secondcoder.settings import Device
from secondcoder.training.baselines import fit_baselines
from secondcoder.training.fitting import Fit

# A saved model is loaded again and compared on so many dev texts: enough to notice weights that went wrong.
_COMPARED = 64
# On a CPU they are equal to the last bit; other hardware may choose another kernel.
_TOLERANCE = {"fp32": 1e-4, "bf16": 1e-2}


def keep(run: Run, split: Split, model: Model, result: Fit) -> None:
    """Save the model, judge it and the baselines on dev, and write the report."""
    assert result.best_scores is not None  # a training that came to its end was evaluated
    run.store_model(model)
    _compare_saved(run, model, split.dev)
    run.store_evaluation("dev", split.dev, result.best_scores.probabilities, baselines=fit_baselines(split.train))
    lengths = describe_lengths(result.n_tokens, model.encoder)
    run.update(
        finished=now(),
        seconds=since(run.info["started"]),
        results={**result.summary(), **model.summary(), "lengths": lengths},
    )
    run.write_report()
    finish_run(run)


def _compare_saved(run: Run, trained: Model, dev: Corpus) -> None:
    """Load what was saved again; remove it and raise `ModelError` unless it gives the logits of the trained model."""
    texts = dev.texts[:_COMPARED]
    saved = load_model(run.model_folder, device=cast(Device, trained.backend.device.type))
    # Computed now: what is remembered of dev may come from another machine, before a --resume.
    before, after = trained.score(texts).logits, saved.score(texts).logits
    if not np.allclose(after, before, atol=_TOLERANCE[saved.precision], rtol=0):
        shutil.rmtree(run.model_folder)
        difference = float(np.abs(after - before).max())
        raise ModelError(
            f"The model that was saved gives other logits than the one that was trained, by up to {difference:.2g}.",
            "It was removed. Please report this with the model's name.",
        )
