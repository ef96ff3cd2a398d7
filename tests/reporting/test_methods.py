from dataclasses import replace

import numpy as np
import pytest

from secondcoder.evaluation.comparison import Comparison, Difference
from secondcoder.evaluation.evaluate import evaluate
from secondcoder.evaluation.intervals import Interval
from secondcoder.evaluation.selective import Guarantee
from secondcoder.reporting.content import AgreementContent, OpeningContent, ReportContent, read
from secondcoder.reporting.methods import INTERVALS, methods
from secondcoder.reporting.page import render
from secondcoder.reporting.references import REFERENCES
from tests.reporting.made import NAMES, Page, compared, content, full_content, judged, sets_content


def said(made: ReportContent) -> tuple[str, str]:
    found = methods(made, read(made))
    return " ".join(found.paragraphs), " ".join(found.references)


def test_the_paragraph_tells_what_was_done() -> None:
    text, references = said(full_content())
    for expected in (
        "Texts were classified into “economic” and “social” (variable “area”)",
        "Of 1,434 hand-labelled texts, 1,234 trained the classifier (train), 65 chose among its epochs (dev) and 100",
        "drawn by manifesto, so that none stands in two: 7 in train, 2 in dev and 3 in test.",
        "Of 3 trainings with different random seeds (macro-F1 on dev: mean 0.864, standard deviation 0.007)",
        "a temperature of 1.40, fitted on dev by log loss (Guo et al. 2017)",
        "On the test part (100 texts from 3 groups), the classifier reaches macro-F1 0.880 [",
        "They hold for these documents only (3 groups)",
        "The test part was opened once.",
    ):
        assert expected in text
    for author in (
        "Guo", "Wilson", "Brown", "Zou", "Lam", "Naeini", "Kumar", "Brier", "Geifman",
        "Wolf", "TeBlunthuis", "Egami", "Loshchilov",
    ):  # fmt: skip
        assert f"{author}, " in references


def test_nothing_is_cited_that_was_not_done() -> None:
    text, references = said(content(evaluations={}, lengths=None, history=[], test_openings=0))
    assert "Guo" not in text + references
    assert "Brier" not in text + references
    assert "test part" not in text
    assert references.count("doi:") == 2  # the library beneath, and what errors do to counted labels


def test_rows_that_are_independent_are_not_said_to_come_in_groups() -> None:
    text, references = said(content(evaluations={"test": {"model": judged(88)}}, group_column=None, split_by="random"))
    assert "unit is the group" not in text
    assert "MacKinnon" not in references
    assert "The parts were drawn at random." in text


def test_every_kind_of_interval_that_is_given_has_its_words_and_its_paper() -> None:
    evaluations = [judged(88), judged(88, n_groups=12), judged(70, names=(*NAMES, "other"))]
    given = {i.method.removeprefix("grouped-") for e in evaluations for i in e.intervals.values() if i}
    assert len(given) > 4
    assert given <= set(INTERVALS)
    assert all(key in REFERENCES for _, keys in INTERVALS.values() for key in keys)


def test_how_it_was_chosen_and_what_it_learned_is_told() -> None:
    made = content()
    plain, _ = said(made)
    assert "share of coders" not in plain
    assert "cross-validation on the train part" not in plain
    assert "trials" not in plain
    more = {
        "recipe": "full",
        "recipes_on_train": "frozen 0.800, full 0.820",
        "tuned": "the best on dev of 20 trials",
        "label_shares": ["n_e", "n_s"],
        "class_weights": "balanced",
    }
    text, _ = said(replace(made, settings=made.settings | more))
    assert "The recipe “full” was chosen by cross-validation on the train part (frozen 0.800, full 0.820)." in text
    assert "they are the best on dev of 20 trials." in text
    assert "It learned the share of coders that gave each class" in text
    assert "so that each counts the same" in text
    assert "share of coders" not in said(replace(made, settings=made.settings | more, best_epoch=0))[0]
    frozen = made.settings | more | {"epochs": 0, "recipe": "frozen"}
    assert "The recipe “frozen” was chosen" in said(replace(made, settings=frozen))[0]
    sets = sets_content()
    text, _ = said(replace(sets, settings=sets.settings | {"class_weights": "balanced"}))
    assert "so that having and not having it count the same" in text


def test_a_list_of_classes_ends_as_a_sentence_does() -> None:
    assert "(variable “area”), any number of which a text may have. The hand-labelled" in said(sets_content())[0]


def test_the_population_is_told_or_left_open_for_the_author() -> None:
    text, _ = said(content())
    assert "The hand-labelled texts are [Fill in: what they were drawn from, how, when, and by whom" in text
    assert 'secondcoder report RUN --population "…"' in text
    page = render(content())
    assert '<mark class="gap">[Fill in: what they were drawn from' in page
    assert "What is marked only you can say" in Page(page).text
    whole = content(
        population="a random sample of 1,434 sentences\nof all manifestos since 1990.",
        model="bert-base-uncased",
        model_kind="bert",
    )
    assert (
        "The hand-labelled texts are a random sample of 1,434 sentences of all manifestos since 1990." in said(whole)[0]
    )
    assert "Fill in" not in said(whole)[0]
    assert "What is marked only you can say" not in Page(render(whole)).text


def lead(low: float, high: float, p_value: float | None) -> Comparison:
    found = Difference("macro-f1", 0.814, 0.891, 0.077, Interval(low, high, "paired"), p_value)
    return Comparison(100, NAMES, "macro-f1", (found,), 0.9, None)


@pytest.mark.parametrize(
    ("compared_with", "expected"),
    [
        (lead(-0.172, 0.324, None), "95 % interval of the difference −0.172 to +0.324, which may be chance)"),
        (lead(-0.01, 0.16, 0.08), "95 % interval of the difference −0.010 to +0.160, p = 0.080, which may be chance)"),
        (lead(0.03, 0.12, 0.0004), "95 % interval of the difference +0.030 to +0.120, p < 0.001)"),
        (None, "not tested, and it may be chance)"),
    ],
)
def test_the_lead_is_told_text_by_text_and_not_as_two_figures(compared_with: Comparison | None, expected: str) -> None:
    found = {} if compared_with is None else {"test": {"tfidf-logistic": compared_with}}
    evaluations = {"test": {who: e for who, e in compared(88, 80).items() if who != "majority"}}
    text, _ = said(content(evaluations=evaluations, leads=found))
    how = "Compared text by text" if found else "Compared"
    start = f"{how} with baselines trained on the same texts, the difference in macro-F1, classifier minus baseline, is"
    assert f"{start} +0.080 for TF-IDF + logistic regression (macro-F1 0.800; {expected}." in text
    assert "For comparison" not in text


def with_lead(method: str, differing: int | None) -> tuple[str, str]:
    found = Difference("macro-f1", 0.814, 0.891, 0.077, Interval(0.03, 0.12, method), 0.01, differing=differing)
    leads = {"test": {"tfidf-logistic": Comparison(100, NAMES, "macro-f1", (found,), 0.9, None)}}
    evaluations = {"test": {who: e for who, e in compared(88, 80).items() if who != "majority"}}
    return said(content(evaluations=evaluations, leads=leads))


def test_the_test_of_the_lead_is_named_and_cited() -> None:
    text, references = with_lead("paired-t", 20)
    assert "Compared text by text with baselines" in text
    assert (
        "The p value is the larger of two: that of the paired permutation test, which swaps what both predicted for a "
        "text (Yeh 2000; Dror et al. 2018; Phipson and Smyth 2010), and that of Student’s t with the standard error of "
        "the delta method, which takes in half a text on either side for each class (after Agresti and Min 2005)."
    ) in text
    for author, cited in (("Yeh", True), ("Dror", True), ("Phipson", True), ("Agresti", True), ("Canay", False)):
        assert (f"{author}, " in references) is cited
    text, references = with_lead("paired-t", 8)  # all swaps are tried
    assert "(Yeh 2000; Dror et al. 2018), and that" in text
    assert "Phipson, " not in references


def test_where_whole_groups_are_swapped_that_is_said() -> None:
    text, references = with_lead("paired-jackknife-t", 9)
    assert "Compared group by group with baselines" in text
    assert "for all texts of a group (Yeh 2000; Dror et al. 2018; Canay et al. 2017)" in text
    assert "standard error of the jackknife over groups (MacKinnon et al. 2023;" in text
    for author in ("Canay", "MacKinnon", "Carter"):
        assert f"{author}, " in references


def test_without_a_test_no_test_is_named() -> None:
    evaluations = {"test": {who: e for who, e in compared(88, 80).items() if who != "majority"}}
    text, references = said(content(evaluations=evaluations))
    assert "permutation" not in text
    assert "Yeh, " not in references


def test_what_is_assumed_of_few_groups_is_disclosed() -> None:
    few, many = (said(content(evaluations={"test": {"model": judged(88, n_groups=n)}}))[0] for n in (12, 25))
    for text in (few, many):
        for expected in (
            "Student’s t at Satterthwaite’s (1946) degrees of freedom, corrected for skewness (Hall 1992)",
            "a prior intraclass correlation of 0.08 (standard deviation 0.12)",
            "(Crowder 1978)",
        ):
            assert expected in text
    assert "With 12 groups the prior decides much of the width" in few
    assert "the prior decides" not in many


def test_over_groups_nothing_is_said_of_how_independent_texts_are_counted() -> None:
    text, references = said(content(evaluations={"test": {"model": judged(88, n_groups=12)}}))
    for wrong in ("Jeffreys", "TP/(TP+FP+FN)", "effective number of texts", "independent draws"):
        assert wrong not in text
    for expected in (
        "shares of all texts have Wilson’s (1927) limits averaged over the numbers of independent texts that follow",
        "precision, recall and F1 join such limits of hits and of misses (MOVER for ratios; Newcombe 2016)",
        "averages over classes have such limits at the number of texts",
    ):
        assert expected in text
    for author, cited in (("Crowder", True), ("Wilson", True), ("Zou", True), ("Brown", False), ("Lam", False)):
        assert (f"{author}, " in references) is cited
    assert "kappa" not in text


def test_decisions_on_one_text_have_limits_of_what_they_may_be_worth() -> None:
    random = np.random.default_rng(0)
    gold = random.random((90, 2)) < 0.4
    p = np.where(gold ^ (random.random((90, 2)) < 0.1), 0.8, 0.2)
    labels = [tuple(name for name, has in zip(NAMES, row, strict=True) if has) for row in gold]
    made = sets_content(names=NAMES, evaluations={"test": {"model": evaluate(labels, p, NAMES, task="multi-label")}})
    text, references = said(made)
    assert "Wilson’s limits averaged over the numbers of independent decisions that those on one text may be" in text
    assert "Crowder, " in references


def test_intervals_that_take_no_groups_hold_for_these_documents_only() -> None:
    evaluation = replace(judged(88), n_groups=2)
    text, references = said(content(evaluations={"test": {"model": evaluation}}))
    assert "They hold for these documents only (2 groups)" in text
    assert "is not known from so few" in text
    assert "intraclass" not in text
    assert "Smyth" not in references


def test_averages_are_said_to_have_the_wider_of_two_intervals() -> None:
    text, _ = said(content(evaluations={"test": {"model": judged(88)}}))
    assert (
        "at each end the widest of Wilson’s and Jeffreys’ limits at the effective number of texts and of those" in text
    )
    assert "Texts are taken as independent draws." in text
    assert "holds on average over the values that a true figure may have" in text


def test_one_figure_leads_and_the_others_are_exploratory() -> None:
    text, _ = said(content(evaluations={"test": {"model": judged(88, positive="social")}}, positive="social"))
    assert "The headline figure, fixed in advance, is F1 of “social”; all other figures are exploratory" in text
    assert "no interval or p value is adjusted for multiple comparisons" in text


def test_the_spread_over_seeds_is_told_or_that_it_is_not_known() -> None:
    text, _ = said(content())
    assert "The classifier was trained once, with one random seed (4711)." in text
    assert "not the variation between trainings with other seeds, which one training cannot show." in text
    text, _ = said(full_content())
    assert "trained once" not in text
    assert "not the variation between trainings with other seeds." in text


def test_counted_labels_are_said_to_be_no_estimates() -> None:
    text, references = said(content())
    assert "Shares counted from the classifier’s labels, and regressions on them, are biased by its errors" in text
    assert "10.1080/19312458.2023.2293713" in references
    page = Page(render(content())).text
    assert "Shares of the model’s labels are no estimates." in page


def test_the_page_says_how_far_counted_labels_are_off() -> None:
    by_who = {"model": judged(60, names=("economic", "social"))}
    model = by_who["model"]
    page = Page(render(content(evaluations={"test": by_who}))).text
    label = max(model.per_class, key=lambda name: abs(model.per_class[name].predicted - model.per_class[name].support))
    found = model.per_class[label]
    assert found.predicted == found.support
    assert "Its errors cancel on test, which is chance." in page


def shares_told(right: int, of: int = 100) -> str:
    text = Page(render(content(evaluations={"test": {"model": judged(right, of)}}))).text
    start = text.index("Shares of the model’s labels are no estimates. ")
    return text[start : text.index("Labelling more texts", start)]


def test_where_there_is_no_error_none_is_said_to_cancel() -> None:
    assert "It makes no error on test" in shares_told(100)
    assert "cancel on test" not in shares_told(100)
    assert "Its errors cancel on test" in shares_told(98)


def test_shares_that_look_the_same_in_per_cent_are_told_apart_by_their_counts() -> None:
    expected = "it gives economic to 1,201 of the 2,400 texts (50.0%), people to 1,200 (50.0%)."
    assert expected in shares_told(2399, 2400)


def test_one_group_is_no_groups() -> None:
    kept = Guarantee(0.1, 0.05, 0.871, 33 / 35, 0.0, bound=0.087, n=35, n_groups=1, chance=0.31)
    assert "taken as independent, though they come from 1 group)." in said(full_content(guarantee=kept))[0]


def test_a_calibration_error_without_an_interval_has_a_reason() -> None:
    evaluation = judged(88, n_groups=3)
    assert evaluation.calibration is not None
    bare = replace(evaluation, calibration=replace(evaluation.calibration, error_interval=None))
    text, _ = said(content(evaluations={"test": {"model": bare}}))
    assert "(without an interval: there are too few groups for one), the Brier score" in text


def test_several_openings_are_told_with_what_changed_and_how_to_read_the_figures() -> None:
    changed = ("epochs 4 (before: 2)", "seed 43 (before: 42)")
    openings = [
        OpeningContent("area", "2026-11-20T10:00:00+00:00"),
        OpeningContent("area", "2026-11-20T10:30:00+00:00", state="crashed"),
        OpeningContent("area-2", "2026-11-21T10:00:00+00:00", changed=changed),
        OpeningContent("area-2", "2026-11-22T10:00:00+00:00", judged="5 folds", changed=()),
        OpeningContent("area-2", "2026-11-23T10:00:00+00:00", same_model=True, changed=()),
        OpeningContent("old", "2026-11-24T10:00:00+00:00"),
    ]
    made = content(test_openings=5, openings=openings)
    text, _ = said(made)
    assert (
        "The test part was opened 5 times: first for the run “area” (2026-11-20); then for “area-2” (2026-11-21) with "
        "epochs 4 (before: 2) and seed 43 (before: 42); then for “area-2” (2026-11-22, 5 folds) with the same "
        "settings; then for “area-2” (2026-11-23) for the same model; then for “old” (2026-11-24) [Fill in: what was "
        "changed; it was not recorded]. What was changed after a look may have been chosen by it: figures on test are "
        "to be read as those of dev, which are optimistic. One further opening of the test part ended before a figure "
        "was seen, and is not counted."
    ) in text
    page = Page(render(made)).text
    assert "treat its figures as those of dev" in page
    assert "crashed before a figure was seen, not counted" in page


def test_openings_of_which_nothing_is_known_are_left_open() -> None:
    text, _ = said(content(test_openings=4))
    assert "opened 4 times [Fill in: what was changed between the openings]. What was changed" in text
    known = [
        OpeningContent("area", "2026-11-20T10:00:00+00:00"),
        OpeningContent("area-2", "2026-11-21T10:00:00+00:00", changed=()),
    ]
    text, _ = said(content(test_openings=4, openings=known))
    assert (
        "The test part was opened 4 times. 2 of these openings are not recorded [Fill in: when, and what was changed]; "
        "the recorded ones: first for the run “area” (2026-11-20); then for “area-2” (2026-11-21) with the same "
    ) in text
    assert "1 of these openings is not recorded" in said(content(test_openings=3, openings=known))[0]
    many = tuple(f"option {i} 1 (before: 0)" for i in range(12))
    openings = [OpeningContent("a", "2026-11-20"), OpeningContent("b", "2026-11-21", changed=many)]
    assert "option 7 1 (before: 0) and 4 more settings. What" in said(content(test_openings=2, openings=openings))[0]


def test_the_arithmetic_that_labels_is_told_with_its_agreement() -> None:
    made = content()
    settings = {**made.settings, "backend": "openvino", "precision": "int8"}
    text, _ = said(replace(made, settings=settings, agreement=AgreementContent(1928, 0.9963, 0.8912, 0.8931)))
    assert (
        "Figures and labels were computed by OpenVINO in int8; on dev (1,928 texts) 99.6% of its labels are those of "
        "PyTorch in fp32, and macro-F1 is 0.891 rather than 0.893."
    ) in text


def test_machine_and_software_are_told() -> None:
    machine = {"processor": "Made-up 9", "cores": 2, "device": "cpu", "system": "Linux"}
    versions = {"secondcoder": "0.1", "python": "3.12", "torch": "2.13.0", "transformers": "5.0", "matplotlib": "3"}
    text, _ = said(content(machine=machine, versions=versions))
    assert "Training ran on a CPU (Made-up 9, 2 cores)." in text
    assert "Software: secondcoder 0.1, Python 3.12, PyTorch 2.13.0 and transformers 5.0." in text
    assert "with secondcoder 0.1 on the transformers library" in text


def test_training_is_told_to_the_last_setting() -> None:
    settings = {
        "epochs": 2, "batch_size": 16, "learning_rate": 1e-4, "warmup": 0.1, "weight_decay": 0.01, "max_grad_norm": 1.0,
        "freeze": 0.5,
    }  # fmt: skip
    text, references = said(content(settings=settings))
    assert (
        "Training took 2 epochs in batches of 16 texts with AdamW (Loshchilov and Hutter 2019; peak learning rate "
        "0.0001 after a warm-up over the first 10% of the steps, falling linearly to zero; weight decay 0.01; "
        "gradients clipped at a norm of 1). The lower 50% of the layers stayed as pre-trained. There was no "
        "early stopping: all epochs were trained, and the weights after the one with the best macro-F1 on dev "
        "were kept (epoch 2)."
    ) in text
    assert "Hyper-parameters were not searched in this training." in text
    assert "1711.05101" in references
    assert "without warm-up, falling linearly" in said(content(settings=settings | {"warmup": 0.0}))[0]


def test_a_run_that_tells_little_has_a_paragraph_without_holes() -> None:
    bare = content(
        settings={}, versions={}, machine={}, evaluations={}, lengths=None, history=[], metric="", best_epoch=None,
        test_openings=0, seconds=None, split_by="", findings=[],
    )  # fmt: skip
    text, _ = said(bare)
    for wrong in ("None", "  ", "()", "( ", " ,", "..", " ."):
        assert wrong not in text, wrong
    assert "Training took some epochs." in text


def test_cross_fitted_figures_stand_beside_those_of_test() -> None:
    text, _ = said(full_content(n_folds=5))
    assert "By cross-fitting, macro-F1 is 0.850 [" in text
    assert "(200 texts from 20 groups): all hand-labelled texts were divided into 5 folds, by group, and each" in text
    only = content(evaluations={"folds": {"model": judged(170, 200)}}, n_folds=3)
    assert (
        "For cross-fitting all hand-labelled texts were divided into 3 folds, and each fold was judged by"
        in said(only)[0]
    )
