"""Run: one training with everything that it leaves on disk.

In: a run folder. Out: its figures on test, and its report.
"""

from dataclasses import replace
from pathlib import Path

from secondcoder.evaluation.evaluation import Evaluation
from secondcoder.progress import Progress, default_progress
from secondcoder.reporting.card import render_card
from secondcoder.reporting.page import render
from secondcoder.runs.folder import MODEL_NAME, RunFolder, judge_part
from secondcoder.runs.mistakes import judged_rows, store_mistakes
from secondcoder.runs.openings import opening
from secondcoder.runs.report import report_content
from secondcoder.settings import TrainSettings
from secondcoder.splits.split import set_aside
from secondcoder.storage import locked, write_text
from secondcoder.training.baselines import Baseline, fit_baselines
from secondcoder.training.embedding_baseline import sentence_embeddings


class Run(RunFolder):
    """A run folder that can be judged and reported on.

    Parameters
    ----------
    folder
        Written by `secondcoder.runs.train.train`.

    Raises
    ------
    RunError
        If there is no run in the folder.
    """

    def evaluate(self, *, progress: Progress | None = None) -> Evaluation:
        """Return the figures on the test part, which is thereby opened, and write them down with the report.

        An opening that ends before it has figures to write is not counted, see `secondcoder.runs.openings`.

        Raises
        ------
        RunError
            If the run holds no model.
        """
        if not self.info.get("results"):
            raise self.no_model()
        rows, model = self.part("test"), self.model
        with locked(self.folder), opening(self, rows, by=model.sha256) as about_to_show:
            with (progress or default_progress()).task("test", len(rows)) as task:
                scores = model.score(rows.texts, progress=task)
            baselines = self._fit_baselines(progress or default_progress())
            found = judge_part(
                "test",
                rows,
                scores.probabilities,
                baselines=baselines,
                temperature=model.card.temperature,
                thresholds=model.card.thresholds,
            )
            about_to_show()
            self.store(found)
            judged = judged_rows(rows, scores.probabilities, scores.n_tokens, thresholds=model.card.thresholds)
            store_mistakes(self, "test", judged, model)
            self.write_report()
        return self.evaluations["test"][MODEL_NAME]

    def _fit_baselines(self, progress: Progress) -> dict[str, Baseline]:
        """Return the baselines as they were at the end of training; fitted now where they were not kept."""
        settings, train, dev = TrainSettings(**self.info["settings"]["train"]), self.part("train"), self.part("dev")
        if settings.max_error is not None:
            dev, _, _ = set_aside(dev, seed=self.info["seed"])
        return fit_baselines(
            train,
            dev,
            tune_threshold=settings.tune_threshold,
            kept=self.folder,
            is_rival=not settings.is_tfidf,
            # The machine that it was trained on may have had another device.
            embeddings=sentence_embeddings(replace(settings, device="auto"), train, progress=progress),
        )

    def write_report(self) -> Path:
        """Make the report and the model's card from what the folder holds; return the report's path."""
        path, content = self.folder / "report.html", report_content(self)
        write_text(path, render(content))
        if self.model_folder.is_dir():  # it may have been moved to where it is used
            write_text(self.model_folder / "README.md", render_card(content))
        return path

    def _repr_html_(self) -> str:
        figures = "".join(f"<h4>{part}</h4>{by[MODEL_NAME]._repr_html_()}" for part, by in self.evaluations.items())
        return f"<p><b>Run</b> {self.folder} ({self.status})</p>{figures}"
