"""What a run's report shows, gathered from its folder.

In: a run folder. Out: `ReportContent`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from secondcoder.corpus.findings import Finding
from secondcoder.evaluation.comparison import Comparison
from secondcoder.evaluation.learning_curve import LearningCurve
from secondcoder.evaluation.selective import Guarantee
from secondcoder.reporting.content import (
    AgreementContent,
    LengthContent,
    OpeningContent,
    PartContent,
    ReportContent,
)
from secondcoder.reporting.formatting import NAMES
from secondcoder.reporting.formatting import TFIDF as TFIDF_BASELINE
from secondcoder.runs.folder import RunFolder
from secondcoder.runs.openings import Opening, changes, openings_of
from secondcoder.settings import OF_NETWORKS
from secondcoder.storage import read_json
from secondcoder.training.baselines import TfidfLogistic
from secondcoder.training.recipes import RecipeComparison
from secondcoder.training.tfidf import TfidfSettings, described


def report_content(run: RunFolder) -> ReportContent:
    """Return what the report shows, from what the folder holds.

    Raises
    ------
    RunError
        If the run holds no model, and so nothing to report.
    """
    if not run.info.get("results"):
        raise run.no_model()
    data, results = run.info["data"], run.info["results"]
    columns = data["columns"]
    guarantee, curve = results.get("selection"), _stored(run, "curve.json")
    openings = openings_of(run)
    return ReportContent(
        run=str(run.folder),
        text_column=columns.get("text", "text"),
        label_column=_label_column(columns),
        group_column=columns.get("group"),
        population=run.info["settings"]["train"].get("population") or "",
        source=data["source"],
        source_sha256=data["sha256"],
        label_names=data["label_names"],
        positive=data["positive"],
        task=data.get("task", "multi-class"),
        model=NAMES[TFIDF_BASELINE] if run.is_tfidf else results["base_model"],
        model_kind=results["model_type"],
        model_description=f"{results['model_type']}, {_counted(results['n_parameters'])} parameters",
        pretrained_sha256=results.get("pretrained_sha256"),
        metric=results["metric"],
        tfidf=TfidfSettings.from_dict(results["terms"]).description if run.is_tfidf else "",
        best_epoch=None if run.is_tfidf else results["best_epoch"],
        best_seed=results["best_seed"],
        split_by=data["split_by"],
        parts={part: PartContent(**content) for part, content in data["parts"].items()},
        lengths=None if results["lengths"] is None else LengthContent(**results["lengths"]),
        unused=data["unused"],
        findings=[Finding(**finding) for finding in (*data["findings"], *results["findings"])],
        history=() if run.is_tfidf else run.history,
        evaluations=run.evaluations,
        test_openings=max(run.info.get("test_openings", 0), sum(one.state == "seen" for one in openings)),
        openings=_told(openings, own=results.get("weights_sha256", "")),
        n_folds=run.info.get("folds", {}).get("n_folds"),
        agreement=_agreement(run.info),
        temperature=results.get("temperature"),
        seed_figures=results.get("seed_figures", {}),
        guarantee=None if guarantee is None else Guarantee.from_dict(guarantee),
        mistakes=_stored(run, "mistakes.json") or {},
        leads={part: {who: Comparison.from_dict(v) for who, v in by.items()} for part, by in run.leads.items()},
        baselines=_baselines(run),
        curve=None if curve is None else LearningCurve.from_dict(curve),
        seed=run.info["seed"],
        settings=_shown_settings(run),
        versions=run.info["versions"],
        machine=run.info["machine"] | {"device": results["device"], "threads": results["threads"]},
        started=run.info["started"],
        seconds=run.info["seconds"],
    )


def _baselines(run: RunFolder) -> dict[str, dict[str, str]]:
    """Return what the baselines were given, by part and name; nothing for parts that an earlier version judged."""
    found = {part: {who: given["description"] for who, given in by.items()} for part, by in run.baselines.items()}
    folds = [each.get("baselines", {}) for each in run.info.get("folds", {}).get("each", ())]
    if folds and all(TfidfLogistic.name in fold for fold in folds):
        each = [TfidfSettings.from_dict(fold[TfidfLogistic.name]["settings"]) for fold in folds]
        found["folds"] = {TfidfLogistic.name: described(each)}
    return found


def _label_column(columns: Mapping[str, str]) -> str:
    """Return the name of the column with the labels; of several, the first and how many more there are."""
    several = [column for role, column in columns.items() if role.startswith("label ")]
    if len(several) > 1:
        return f"{several[0]} and {len(several) - 1} more"
    return columns.get("label", "label")


def _counted(parameters: int) -> str:
    return f"{parameters / 1e6:,.1f} million" if parameters >= 1e6 else f"{parameters:,}"


def _stored(run: RunFolder, name: str) -> Any:
    """Return what a file of the run folder holds, or None where there is none."""
    path = run.folder / name
    return read_json(path) if path.exists() else None


def _told(openings: Sequence[Opening], own: str) -> list[OpeningContent]:
    """Return the openings, each with what had changed since the last one that counts; `own` is the run's model."""
    told: list[OpeningContent] = []
    before: Opening | None = None
    for one in openings:
        judged = one.model if one.model.endswith("folds") else ""  # whose models are new ones each time
        same = one.model == (own if before is None else before.model) and not judged
        found = None if before is None else changes(before, one)
        changed = None if found is None else tuple(found)
        told.append(OpeningContent(one.run, one.time, judged, one.state, same, changed))
        before = one if one.state == "seen" else before
    return told


def _agreement(info: Mapping[str, Any]) -> AgreementContent | None:
    """Return how what labels agrees with torch in the arithmetic of the training, where that was compared."""
    results = info["results"]
    checks = results.get("backend_choice", {}).get("checks", ())
    names = ("n", "agreement", "macro_f1", "reference_macro_f1")
    for check in checks:
        if check["passed"] and (check["backend"], check["precision"]) == (results["backend"], results["precision"]):
            return AgreementContent(**{name: check[name] for name in names}, reference=info.get("precision", "fp32"))
    return None


def _shown_settings(run: RunFolder) -> dict[str, Any]:
    """Return the settings as they were resolved, in the order of the steps."""
    settings, results = run.info["settings"], run.info["results"]
    hidden = ("population", *(OF_NETWORKS if run.is_tfidf else ()))
    resolved = ("learning_rate", "max_length", "pooling", "precision", "metric", "backend", "revision")
    return {
        **{name: value for name, value in settings["read"].items() if value is not None},
        **{("split_seed" if name == "seed" else name): value for name, value in settings["split"].items()},
        **{name: value for name, value in settings["train"].items() if name not in hidden},
        **_how_chosen(run),
        **{name: results[name] for name in resolved if results.get(name) is not None},
    }


def _how_chosen(run: RunFolder) -> dict[str, str]:
    """Return what recipes gave on train, and among how many trials the settings were chosen, where they were."""
    said: dict[str, str] = {}
    if "recipes" in run.info:
        found = RecipeComparison.from_dict(run.info["recipes"])
        said |= {"recipes_on_train": found.told} if found.figures else {"recipes_not_compared": found.why_not}
        if run.is_tfidf:
            said["recipes_of"] = run.info["recipes"]["asked"]["model"]
    if "tuning" in run.info:
        said["tuned"] = f"the best on dev of {run.info['tuning']['trials']} trials"
    return said
