"""Cross-fitting a run: every hand-labelled row predicted by a model that has not learned from it.

In: a run, the number of folds. Out: ``folds.parquet`` with one out-of-fold prediction for every row, their figures
under ``"folds"``, and what each fold gave, in the run folder. The run's own model stays as it is.

    folds/                 while it goes on; gone when it is done
      plan.json            the number of folds, and that the test part has been counted as opened
      fold-1.parquet       what the models of a finished fold say about its rows
      checkpoints/         what the fold under way goes on from

No `FinishedTrainings`: a finished fold is a table, and what it is of is the run that holds it.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from secondcoder.corpus.corpus import Corpus
from secondcoder.errors import InterruptedRunError, RunError, SplitError
from secondcoder.evaluation.evaluate import points_of_rows
from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.evaluation.multilabel import threshold_array
from secondcoder.evaluation.thresholds import Thresholds
from secondcoder.progress import Progress, default_progress
from secondcoder.runs.folder import ACTIVATIONS, MODEL_NAME, RUN_FILE, now, predicted_labels
from secondcoder.runs.mistakes import judged_rows, store_mistakes
from secondcoder.runs.openings import opening
from secondcoder.runs.run import Run
from secondcoder.settings import TrainSettings, check_count
from secondcoder.splits.folds import Fold, make_folds
from secondcoder.splits.split import RULES, set_aside
from secondcoder.storage import atomic_path, locked, read_json, storage_errors, write_json
from secondcoder.training.baselines import fit_baselines
from secondcoder.training.classifier import LearnedFrom, finish_classifier
from secondcoder.training.embedding_baseline import SentenceEmbeddings, sentence_embeddings
from secondcoder.training.seeds import fit_pretrained, spread
from secondcoder.training.text_pool import TextPool

FOLDS = "folds"
"""Key of the out-of-fold figures in the run's evaluations, and name of what belongs to them in its folder."""
PREDICTIONS = "folds.parquet"
"""The out-of-fold predictions; without them, folds are not done."""
_PLAN = "plan.json"


def cross_fit(run: Run, folds: int = 5, *, progress: Progress | None = None) -> Evaluation:
    """Return the figures of out-of-fold predictions for all rows of a run, and write them into its folder.

    Train, dev and test are put together and divided into folds, by group where the run has groups. For each fold a
    model is trained on the other folds, with the run's settings and seed, its best epoch chosen on a dev part taken
    out of them; it predicts the fold. The figures say how good models trained as this one are, on every row that was
    labelled. They cost the test part: it is counted as opened.

    Stopped anywhere, the same call goes on where it was.

    Parameters
    ----------
    run
        A finished run.
    folds
        How many; at least 2.
    progress
        Where to show how far it has come; a bar in notebooks, nothing elsewhere, unless given.

    Raises
    ------
    RunError
        If the run holds no model, another process works in it, or another number of folds is done or half done in it.
    SplitError
        If there are fewer than three groups, fewer groups than folds, or too few texts of a label.
    InterruptedRunError
        If the user stopped it; everything is saved.
    """
    check_count("folds", folds, least=2)
    if not run.info.get("results"):
        raise run.no_model()
    progress = progress or default_progress()
    work = _Work(run.folder / FOLDS, folds)
    with locked(run.folder):
        run.info = read_json(run.folder / RUN_FILE)  # as it is now that nobody else writes it
        work.require_same(_max_error(run))
        path = run.folder / PREDICTIONS
        done = run.info.get(FOLDS, {}).get("n_folds") if path.is_file() and not work.begun else None
        if done not in (None, folds):
            raise RunError(
                f"{run.folder} holds {done} finished folds, and {folds} were asked for, which would take their place.",
                f"Ask for {done} to see them again, or remove {path} to make {folds}.",
            )
        if done == folds:
            progress.say(f"The {folds} folds of {run.folder} are done already; nothing is left to do.")
        else:
            rows = run.all_rows()
            sizes = {part: run.info["data"]["parts"][part]["rows"] for part in ("train", "dev")}
            seed = run.info["settings"]["split"]["seed"]
            made = make_folds(rows, folds, dev=sizes["dev"] / sum(sizes.values()), seed=seed)
            work.begin(run)
            work.require_division(made)
            with TextPool(rows.texts, work.folder / ACTIVATIONS) as texts:
                share = _Shared(texts, sentence_embeddings(_settings_of(run), rows, progress=progress))
                for number, fold in enumerate(made, 1):
                    work.do(number, fold, run, share, progress)
            _store(run, rows, made, work)
        work.clear()
        run.write_report()
    return run.evaluations[FOLDS][MODEL_NAME]


@dataclass(frozen=True)
class _Shared:
    """What the folds of a run share: their texts, and what the encoder said of them before any training."""

    texts: TextPool
    embeddings: SentenceEmbeddings | None


@dataclass(frozen=True)
class _Work:
    """What is there of folds that are not all done.

    Attributes
    ----------
    folder
        Where it is.
    n_folds
        How many there will be.
    """

    folder: Path
    n_folds: int

    @property
    def begun(self) -> bool:
        """Whether some of it has been done."""
        return (self.folder / _PLAN).is_file()

    @property
    def plan(self) -> dict[str, Any]:
        """What was written down when it was begun."""
        plan: dict[str, Any] = read_json(self.folder / _PLAN)
        return plan

    def require_same(self, max_error: float | None) -> None:
        """Raise `RunError` if another number of folds has been begun, or folds that choose no confidence."""
        if self.begun and (before := self.plan["n_folds"]) != self.n_folds:
            raise RunError(
                f"{self.folder.parent} holds {before} folds that are not all done, and {self.n_folds} were asked for.",
                f"Go on with --folds {before}, or remove the folder {self.folder} to begin anew.",
            )
        if self.begun and self.plan.get("max_error") != max_error:
            raise RunError(
                f"{self.folder.parent} holds folds that an earlier version began, without --max-error.",
                f"Remove the folder {self.folder} to begin anew.",
            )

    def begin(self, run: Run) -> None:
        """Count the test part as opened, once, and write the plan down."""
        if not self.begun:
            shutil.rmtree(self.folder, ignore_errors=True)  # left by folds that were killed while they cleared away
            # A fold says from its first epoch on how good it is, on rows of test among others: seen as soon as begun.
            with opening(run, run.part("test"), by=f"{self.n_folds} folds") as about_to_show:
                opened = about_to_show()
            write_json(
                self.folder / _PLAN,
                {
                    "n_folds": self.n_folds,
                    "test_openings": opened,
                    "started": now(),
                    "max_error": _max_error(run),
                    "split_rules": RULES,
                },
            )

    def require_division(self, folds: Sequence[Fold]) -> None:
        """Raise `RunError` if folds that are finished hold other rows than these, as an earlier version divided them.

        What the fold under way had come to is forgotten where it may have learned from other rows.
        """
        plan = self.plan
        if plan.get("split_rules", 1) == RULES:
            return
        for number, fold in enumerate(folds, 1):
            path = self._path(number)
            if path.is_file() and pq.read_table(path, columns=["id"])["id"].to_pylist() != list(fold.judged.ids):
                raise RunError(
                    f"{path} was made by an earlier version, which divided the rows in another way: copies that differ "
                    "in case, blanks or outer punctuation could stand in two folds.",
                    f"Remove the folder {self.folder} to begin anew.",
                )
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        write_json(self.folder / _PLAN, plan | {"split_rules": RULES})

    def do(self, number: int, fold: Fold, run: Run, share: _Shared, progress: Progress) -> None:
        """Train and predict a fold, unless that has been done."""
        name = f"Fold {number} of {self.n_folds}"
        if self._path(number).is_file():
            progress.say(f"{name} is done already.")
            return
        parts = _parts_of(fold, run, progress)
        progress.say(f"{name}: {len(fold.train):,} train, {len(parts.dev):,} dev; {_amount(fold.judged)} to predict")
        checkpoints = self.folder / "checkpoints" / f"fold-{number}"
        try:
            said, about = _predict(fold, parts, run, checkpoints, share, progress)
        except InterruptedRunError as error:
            raise InterruptedRunError(f"{name}: {error.what}", "The same command goes on where it was.") from error
        table = pa.table(
            {"id": pa.array(fold.judged.ids, pa.string())}
            | {f"{who} {i}": column for who, p in said.items() for i, column in enumerate(p.T)}
        )
        write_json(self._path(number).with_suffix(".json"), about)
        _write_table(self._path(number), table)
        shutil.rmtree(checkpoints, ignore_errors=True)

    def said(self, number: int, fold: Fold) -> tuple[dict[str, NDArray[np.float64]], dict[str, Any]]:
        """Return who gave which probabilities, shape (n, k), to a finished fold's rows, and how its training went."""
        table, k = pq.read_table(self._path(number)), len(fold.judged.label_names)
        if table["id"].to_pylist() != list(fold.judged.ids):
            raise RunError(
                f"{self._path(number)} holds other rows than fold {number}: the run's data has changed since.",
                f"Remove the folder {self.folder} and begin anew.",
            )
        whos = dict.fromkeys(name.rpartition(" ")[0] for name in table.column_names[1:])
        about: dict[str, Any] = read_json(self._path(number).with_suffix(".json"))
        return {who: np.stack([table[f"{who} {i}"].to_numpy() for i in range(k)], axis=1) for who in whos}, about

    def clear(self) -> None:
        """Remove all of it: the plan first, without which the rest counts for nothing."""
        (self.folder / _PLAN).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"fold-{number}.parquet"


def _max_error(run: Run) -> float | None:
    found: float | None = run.info["settings"]["train"].get("max_error")
    return found


def _parts_of(fold: Fold, run: Run, progress: Progress) -> LearnedFrom:
    """Return what a fold's model learns from; half of dev chooses the confidence where the run has --max-error."""
    if _max_error(run) is None:
        return LearnedFrom(fold.train, fold.dev)
    try:
        dev, reserved, _ = set_aside(fold.dev, seed=run.info["seed"])
    except SplitError as error:
        progress.say(f"warning: this fold chooses no confidence for --max-error. {error.what}")
        return LearnedFrom(fold.train, fold.dev)
    return LearnedFrom(fold.train, dev, reserved)


def _settings_of(run: Run) -> TrainSettings:
    settings = TrainSettings(**run.info["settings"]["train"])
    if settings.is_tfidf:
        return settings
    # By torch: what a backend does to labels was measured on the run's dev already.
    return replace(settings, precision=run.info.get("precision", settings.precision), backend="torch")


def _predict(
    fold: Fold, parts: LearnedFrom, run: Run, checkpoints: Path, share: _Shared, progress: Progress
) -> tuple[dict[str, NDArray[np.float64]], dict[str, Any]]:
    """Return the probabilities that the model and the baselines give to a fold's rows, and how the training went."""
    settings, seed = _settings_of(run), run.info["seed"]
    model, result = fit_pretrained(
        parts.train,
        parts.dev,
        settings=settings,
        seed=seed,
        checkpoints=checkpoints,
        texts=share.texts,
        progress=progress,
    )
    finished = finish_classifier(model, result, parts, settings, progress)
    with progress.task("predicting", len(fold.judged)) as task:
        said = {MODEL_NAME: model.score(fold.judged.texts, progress=task).probabilities}
    baselines = fit_baselines(
        fold.train,
        parts.dev,
        tune_threshold=settings.tune_threshold,
        is_rival=not settings.is_tfidf,
        embeddings=share.embeddings,
    )
    said |= {name: baseline.predict_proba(fold.judged.texts) for name, baseline in baselines.items()}
    return said, {
        "train": len(fold.train),
        "dev": len(parts.dev),
        "best_seed": result.seed,
        "best_epoch": result.best_epoch,
        "temperature": model.card.temperature,
        "thresholds": model.card.thresholds,
        f"dev {result.metric}": result.best,
        "baselines": {name: baseline.given for name, baseline in baselines.items() if baseline.given},
        **({} if finished.guarantee is None else {"selection": finished.guarantee.to_dict()}),
    }


def _store(run: Run, rows: Corpus, folds: list[Fold], work: _Work) -> None:
    """Put the finished folds together, judge them, and write everything into the run folder."""
    found = [work.said(number, fold) for number, fold in enumerate(folds, 1)]
    of_row = np.empty(len(rows), np.int64)
    everywhere = [who for who in found[0][0] if all(who in by_who for by_who, _ in found)]
    said = {who: np.empty((len(rows), len(rows.label_names))) for who in everywhere}
    entries, labels = [], [""] * len(rows)
    limits = {who: np.empty_like(probabilities) for who, probabilities in said.items()}
    tuned = dict.fromkeys(said, rows.multi_label)
    for number, (fold, (by_who, about)) in enumerate(zip(folds, found, strict=True), 1):
        of_row[list(fold.rows)] = number
        for who in said:
            said[who][list(fold.rows)] = by_who[who]
            given = about if who == MODEL_NAME else about.get("baselines", {}).get(who, {}).get("settings", {})
            own = given.get("thresholds", {})  # those of this fold
            limits[who][list(fold.rows)] = threshold_array(own, rows.label_names)
            tuned[who] = tuned[who] or bool(own)
        own = about.get("thresholds", {})
        for row, label in zip(fold.rows, predicted_labels(fold.judged, by_who[MODEL_NAME], own), strict=True):
            labels[row] = label
        entries.append(
            {
                "fold": number,
                "rows": len(fold.judged),
                "groups": None if fold.judged.units is None else len(set(fold.judged.units)),
                **about,
                "figures": points_of_rows(fold.judged, by_who[MODEL_NAME], thresholds=own).figures(),
            }
        )
    _write_table(run.folder / PREDICTIONS, _predictions(rows, of_row, labels, said[MODEL_NAME]))
    thresholds: dict[str, Thresholds] = {who: limits[who] for who in tuned if tuned[who]}
    run.store_figures(FOLDS, rows, said, thresholds=thresholds)
    store_mistakes(run, FOLDS, judged_rows(rows, said[MODEL_NAME], thresholds=thresholds.get(MODEL_NAME)))
    run.update(
        folds={
            "n_folds": len(folds),
            "rows": len(rows),
            "by": "stratified" if rows.groups is None else "group",
            "groups": None if rows.units is None else len(set(rows.units)),
            "started": work.plan["started"],
            "finished": now(),
            "each": entries,
            **spread([entry["figures"] for entry in entries]).to_dict(),
        }
    )


def _predictions(
    rows: Corpus, of_row: NDArray[np.int64], predicted: list[str], probabilities: NDArray[np.float64]
) -> pa.Table:
    return pa.table(
        {
            "id": pa.array(rows.ids, pa.string()),
            "fold": pa.array(of_row, pa.int64()),
            "label": pa.array(rows.labels, pa.string()),
            "predicted": pa.array(predicted, pa.string()),
        }
        | {f"probability_{name}": probabilities[:, i] for i, name in enumerate(rows.label_names)}
    )


def _amount(rows: Corpus) -> str:
    groups = "" if rows.units is None else f" of {len(set(rows.units)):,} groups"
    return f"{len(rows):,} texts{groups}"


def _write_table(path: Path, table: pa.Table) -> None:
    with atomic_path(path) as temporary, storage_errors(path):
        pq.write_table(table, temporary, compression="zstd")
