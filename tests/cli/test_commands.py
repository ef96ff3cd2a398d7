"""The command line as a user meets it: in one process, from the words typed to the exit code."""

import csv
import json
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from secondcoder.cli.main import main
from secondcoder.cli.output import _say_guarantee
from secondcoder.corpus import near_duplicates
from secondcoder.errors import ModelError
from secondcoder.evaluation.selective import Guarantee
from secondcoder.runs.run import Run
from tests.tiny import make_rows

COLUMNS = ["--text", "text", "--label", "area", "--id", "id"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def secondcoder(capsys):
    """Run a command; return exit code, standard output, standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return left.value.code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def trained(encoder_folder, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    source = folder / "hand-labelled.csv"
    with source.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "text", "area", "manifesto"])
        writer.writerows([f"t{i}", text, label, f"g{i // 10}"] for i, (text, label) in enumerate(make_rows(120)))
    words = ["train", str(source), *COLUMNS, "--model", str(encoder_folder), "--output", str(folder / "run")]
    with pytest.raises(SystemExit) as left:
        main([*words, "--learning-rate", "5e-3", "--epochs", "6", "--positive", "social", "--freeze", "0"])
    assert left.value.code == 0
    return folder / "run"


@pytest.fixture
def run_folder(trained, tmp_path) -> Path:
    shutil.copytree(trained, tmp_path / "runs" / "area")
    return tmp_path / "runs" / "area"


@pytest.fixture
def corpus_file(tmp_path) -> Path:
    path = tmp_path / "corpus.csv"
    path.write_text("n,text\n1,more tax and trade\n2,\n3,our school and police\n", encoding="utf-8")
    return path


def test_check_shows_labels_lengths_and_faults(secondcoder, labelled_file, encoder_folder):
    with labelled_file.open("a", encoding="utf-8") as stream:
        stream.write('t200,"",social,g1\nt201,brand new text,,g1\n')
    code, out, _ = secondcoder("check", labelled_file, *COLUMNS, "--group", "manifesto", "--model", encoder_folder)
    assert code == 0
    for expected in ("122 rows, 121 with a label", "economic", "social", "(tokens)", "cut", "empty", "without a label"):
        assert expected in out
    assert "labels of train expect macro-F1 about" in out


def test_check_as_json_is_one_object(secondcoder, labelled_file, encoder_folder):
    code, out, _ = secondcoder("check", labelled_file, *COLUMNS, "--model", encoder_folder, "--json")
    found = json.loads(out)
    assert (code, found["rows"], found["label_counts"]["all"]) == (0, 120, {"economic": 60, "social": 60})
    assert {len(examples) for examples in found["examples"].values()} == {3}
    assert set(found["expected"]["figures"]) == {"frozen", "tfidf"}


def test_check_leaves_with_2_where_training_would_fail(secondcoder, tmp_path, encoder_folder):
    path = tmp_path / "one.csv"
    path.write_text("text,area\na,x\nb,x\n", encoding="utf-8")
    code, out, _ = secondcoder("check", path, "--text", "text", "--label", "area", "--model", encoder_folder)
    assert code == 2
    assert "error: " in out


def test_a_wrong_column_lists_the_columns_and_the_nearest(secondcoder, labelled_file):
    code, out, err = secondcoder("check", labelled_file, "--text", "txt", "--label", "area")
    assert (code, out) == (2, "")
    for expected in ("'txt'", "'id', 'text', 'area', 'manifesto'", "did you mean 'text'?"):
        assert expected in err
    assert "Traceback" not in err


def test_an_error_as_json_goes_to_standard_output_too(secondcoder):
    code, out, err = secondcoder("check", "nowhere.csv", "--text", "text", "--json")
    assert code == 2
    assert json.loads(out)["error"] in err
    assert json.loads(out)["cure"]


def test_check_without_columns_lists_them(secondcoder, labelled_file):
    code, _, err = secondcoder("check", labelled_file)
    assert code == 2
    assert "'id', 'text', 'area', 'manifesto'" in err


def test_check_shows_the_parts_that_training_would_make(secondcoder, labelled_file, encoder_folder):
    code, out, _ = secondcoder("check", labelled_file, *COLUMNS, "--model", encoder_folder, "--json")
    counts = json.loads(out)["label_counts"]
    assert {part: sum(by.values()) for part, by in counts.items()} == {"all": 120, "train": 72, "dev": 24, "test": 24}
    code, out, _ = secondcoder(
        "check", labelled_file, *COLUMNS, "--model", encoder_folder, "--dev", "100", "--test", "50"
    )
    assert code == 2
    assert "leave no train rows" in out


def test_check_looks_for_near_duplicates_once(secondcoder, labelled_file, encoder_folder, monkeypatch):
    monkeypatch.setattr("secondcoder.training.forecast.LEAST_ROWS", 1000)  # it looks among the rows of train once more
    calls, real = [], near_duplicates.similar_pairs
    monkeypatch.setattr(
        near_duplicates, "similar_pairs", lambda texts, **named: calls.append(len(texts)) or real(texts, **named)
    )
    with labelled_file.open("a", encoding="utf-8") as stream:
        stream.write('t200,"",social,g1\nt201,brand new text,,g1\n')
    options = ["check", labelled_file, *COLUMNS, "--model", encoder_folder, "--json"]
    found = json.loads(secondcoder(*options)[1])
    assert len(calls) == 1
    monkeypatch.setattr("secondcoder.splits.draft.Draft.near", property(lambda draft: find_afresh(draft)))
    assert json.loads(secondcoder(*options)[1]) == found


def find_afresh(draft):
    return near_duplicates.find_near_duplicates(draft.corpus.texts, draft.rows)


def test_train_says_before_it_begins_that_folds_give_the_figure_where_groups_are_few(
    secondcoder, labelled_file, encoder_folder, monkeypatch
):

    def begin(*_, **__):
        raise ModelError("Training began.", "")

    monkeypatch.setattr("secondcoder.runs.train.train_with", begin)
    words = ["train", labelled_file, *COLUMNS, "--group", "manifesto", "--model", encoder_folder, "--output", "run"]
    _, _, err = secondcoder(*words)
    before, began, _ = err.partition("Training began.")
    assert began
    assert "12 groups, " in before
    assert "secondcoder evaluate RUN --folds 5. That opens the test part." in before


def test_a_negative_seed_leaves_with_2(secondcoder, labelled_file, encoder_folder):
    words = ["train", labelled_file, *COLUMNS, "--model", encoder_folder, "--output", "run", "--seed", "-1"]
    code, _, err = secondcoder(*words)
    assert code == 2
    assert "seed is -1" in err


def test_a_wrong_option_is_named_with_the_nearest(secondcoder, labelled_file):
    code, _, err = secondcoder("train", labelled_file, "--output", "run", "--epoch", "3")
    assert code == 2
    assert "--epochs" in err


def test_a_value_out_of_bounds_leaves_with_2(secondcoder, labelled_file):
    code, _, err = secondcoder("train", labelled_file, *COLUMNS, "--output", "run", "--epochs", "-1")
    assert code == 2
    assert "at least 0" in err
    assert not Path("run").exists()


def test_train_evaluate_label_is_the_whole_way(secondcoder, run_folder, corpus_file, tmp_path):
    code, out, _ = secondcoder("evaluate", run_folder)
    assert code == 0
    for expected in (
        "Test (24 texts)",
        "f1:social",
        "tfidf-logistic",
        "Confusion matrix",
        "opened once",
        "report.html",
    ):
        assert expected in out
    output = tmp_path / "labelled.parquet"
    code, out, _ = secondcoder("label", run_folder, corpus_file, "--output", output, "--probabilities")
    assert code == 0
    assert "3 rows, 2 labelled; 1 without (empty text)" in out
    rows = pq.read_table(output).to_pylist()
    assert [row["n"] for row in rows] == ["1", "2", "3"]
    assert [row["label"] for row in rows] == ["economic", None, "social"]
    assert rows[0]["probability"] == rows[0]["probability_economic"] > 0.5


def test_evaluate_counts_its_openings(secondcoder, run_folder):
    secondcoder("evaluate", run_folder)
    _, out, _ = secondcoder("evaluate", run_folder, "--json")
    assert json.loads(out)["test_openings"] == 2


def test_evaluate_judges_on_new_data(secondcoder, run_folder, tmp_path):
    path = tmp_path / "new.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "area"])
        writer.writerows(make_rows(30, seed=77))
    code, out, err = secondcoder("evaluate", run_folder, path)
    assert code == 0
    assert "(30 texts)" in out
    assert not (run_folder.parent / "test-use.jsonl").exists()
    assert err == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--group", "nonsense", "--text", "nope"], "--text nope, --group nonsense"),
        (["--folds", "2", "--label", "area"], "--label area"),
        (["new.csv", "--folds", "2"], "Name one of the two"),
    ],
)
def test_evaluate_refuses_what_it_would_pass_over_before_anything_is_opened(secondcoder, run_folder, words, said):
    before = {path: path.stat().st_mtime_ns for path in run_folder.rglob("*")}
    code, out, err = secondcoder("evaluate", run_folder, *words)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 2  # what, and the cure
    assert {path: path.stat().st_mtime_ns for path in run_folder.rglob("*")} == before
    assert not (run_folder.parent / "test-use.jsonl").exists()


def test_evaluate_as_json_has_one_form_for_the_test_part_and_for_a_file(secondcoder, run_folder, tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("text,area\nmore tax and trade,economic\nour school and police,social\n,social\n", encoding="utf-8")
    code, out, _ = secondcoder("evaluate", run_folder, path, "--json")
    of_file = json.loads(out)
    assert code == 0
    assert list(of_file) == ["source", "sha256", "columns", "findings", "model"]
    assert (of_file["source"], of_file["columns"]) == (str(path), {"text": "text", "label": "area"})
    assert [finding["kind"] for finding in of_file["findings"]] == ["unused"]
    run = Run(run_folder)
    findings = [{"kind": "made-up", "severity": "note", "message": "Known of the data."}]
    run.update(data=run.info["data"] | {"findings": findings})
    of_test = json.loads(secondcoder("evaluate", run_folder, "--json")[1])
    assert list(of_test) == ["part", "findings", "test_openings", "baselines", "model", "majority", "tfidf-logistic"]
    assert (of_test["part"], of_test["findings"], of_test["test_openings"]) == ("test", findings, 1)
    assert of_file["model"].keys() == of_test["model"].keys()
    assert (of_file["model"]["n"], of_test["model"]["n"]) == (2, 24)


def test_intervals_of_few_groups_are_said_to_hold_for_these_only(secondcoder, run_folder, tmp_path):
    path = tmp_path / "new.csv"

    def told(n_groups: int) -> str:
        rows = [f"{text},{label},g{i % n_groups}\n" for i, (text, label) in enumerate(make_rows(40, seed=77))]
        path.write_text(f"text,area,doc\n{''.join(rows)}", encoding="utf-8")
        code, out, _ = secondcoder("evaluate", run_folder, path, "--group", "doc")
        assert code == 0
        return out

    for n_groups, which in ((1, "this 1 group"), (2, "these 2 groups")):
        few = told(n_groups)
        assert f"In brackets: 95 % intervals. Intervals hold for other texts of {which} only." in few
        assert f"For other groups it is not known from {which[5:].strip()}. See evaluate --folds." in few
        assert "[" in few
    assert "In brackets: 95 % intervals. Intervals hold for other groups like these 5. They are wider" in told(5)


def test_evaluate_shows_which_new_texts_are_nearly_those_learned(secondcoder, run_folder, tmp_path):
    known = max(Run(run_folder).part("train").texts, key=len)
    path = tmp_path / "new.csv"
    path.write_text(
        f"text,area\n{known} indeed,social\nnew texts with a trade of their own,economic\n", encoding="utf-8"
    )
    code, _, err = secondcoder("evaluate", run_folder, path)
    assert code == 0
    assert "1 of the 2 texts" in err
    assert "0 word for word, 1 nearly" in err
    assert "1 ~ train t" in err


def test_show_tells_labels_layers_parameters_and_figures(secondcoder, run_folder):
    code, out, _ = secondcoder("show", run_folder)
    assert code == 0
    for expected in ("economic, social", "layer.1", "classifier", "n_parameters", "Figures on dev"):
        assert expected in out
    code, out, _ = secondcoder("show", run_folder / "model", "--json")
    found = json.loads(out)
    assert found["labels"] == ["economic", "social"]
    assert sum(found["parts"].values()) == found["n_parameters"]


def test_tokens_shows_what_is_read_and_what_is_cut(secondcoder, run_folder):
    code, out, _ = secondcoder("tokens", run_folder, "tax [SEP] school", "--max-length", "8", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["tokens"][0] == "[CLS]"
    assert found["tokens"][-1] == "[SEP]"
    assert found["tokens"].count("[SEP]") == 1
    assert len(found["ids"]) == len(found["attention_mask"]) == len(found["tokens"]) <= 8
    code, out, _ = secondcoder("tokens", run_folder, "tax " * 100)
    assert "Cut: tax tax" in out


def test_report_makes_the_page_again(secondcoder, run_folder, trained):
    page = run_folder / "report.html"
    before = page.read_text(encoding="utf-8")
    page.unlink()
    assert secondcoder("report", run_folder)[0] == 0
    assert page.read_text(encoding="utf-8") == before.replace(str(trained), str(run_folder))


def test_an_existing_output_and_an_existing_column_are_refused(secondcoder, run_folder, corpus_file, tmp_path):
    output = tmp_path / "labelled.csv"
    assert secondcoder("label", run_folder, corpus_file, "--output", output)[0] == 0
    before = output.read_bytes()
    code, _, err = secondcoder("label", run_folder, corpus_file, "--output", output)
    assert (code, output.read_bytes()) == (2, before)
    code, _, err = secondcoder("label", run_folder, output, "--output", tmp_path / "again.csv")
    assert code == 2
    assert "--prefix" in err
    assert secondcoder("label", run_folder, output, "--output", tmp_path / "again.csv", "--prefix", "second_")[0] == 0


def test_another_name_for_the_text_column(secondcoder, run_folder, tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"sentence": "more tax"}\n', encoding="utf-8")
    code, _, err = secondcoder("label", run_folder, path, "--output", "out.csv")
    assert code == 2
    assert "'text'" in err
    assert secondcoder("label", run_folder, path, "--output", "out.csv", "--text", "sentence")[0] == 0


def test_the_settings_file_supplies_any_option_and_the_command_line_wins(secondcoder, labelled_file, encoder_folder):
    Path("secondcoder.toml").write_text(
        f'[train]\ntext = "text"\nlabel = "area"\nmodel = "{encoder_folder}"\noutput = "run"\nepochs = 1\nseed = 7\n',
        encoding="utf-8",
    )
    code, out, _ = secondcoder("train", labelled_file, "--seed", "8", "--json")
    assert code == 0
    run = Run("run")
    assert (run.info["settings"]["train"]["epochs"], run.info["seed"]) == (1, 8)
    assert json.loads(out)["status"] == "complete"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("epochs = 1", "outside a section"),
        ("[trian]\nepochs = 1", "did you mean 'train'"),
        ("[train]\nepoch = 1", "epoch"),
        ("[train", "Cannot read"),
    ],
)
def test_a_faulty_settings_file_is_not_passed_over(secondcoder, labelled_file, content, message):
    Path("secondcoder.toml").write_text(content, encoding="utf-8")
    code, _, err = secondcoder("train", labelled_file, *COLUMNS, "--output", "run")
    assert code == 2
    assert message in err


def test_ctrl_c_in_training_leaves_with_130_and_can_go_on(secondcoder, labelled_file, encoder_folder, monkeypatch):
    def interrupt(self, entry):
        os.kill(os.getpid(), signal.SIGINT)

    words = ["train", labelled_file, *COLUMNS, "--model", encoder_folder, "--output", "run", "--epochs", "5"]
    with monkeypatch.context() as pressed:
        pressed.setattr(Run, "append_history", interrupt)
        code, _, err = secondcoder(*words)
    assert code == 130
    assert "everything is saved" in err
    assert "--resume" in err
    assert Run("run").status == "interrupted"
    code, _, err = secondcoder(*words, "--resume")
    assert code == 0
    assert "Resuming from step" in err
    assert Run("run").status == "complete"


def test_ctrl_c_in_labelling_leaves_no_output(secondcoder, run_folder, corpus_file, monkeypatch):
    def interrupt(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("secondcoder.model.model.Model.score", interrupt)
    code, _, err = secondcoder("label", run_folder, corpus_file, "--output", "out.csv")
    assert code == 130
    assert "Interrupted" in err
    assert not list(Path().glob("*out.csv*"))


def test_a_model_that_loses_is_said_to_lose(secondcoder, labelled_file, encoder_folder):
    words = ["train", labelled_file, *COLUMNS, "--model", encoder_folder, "--output", "run", "--epochs", "1"]
    code, out, _ = secondcoder(*words, "--learning-rate", "1e-7")
    assert code == 0
    assert "LOSES to the baseline tfidf-logistic" in out


def test_the_default_model_offline_says_what_to_do(secondcoder, labelled_file):
    code, _, err = secondcoder("train", labelled_file, *COLUMNS, "--output", "run")
    assert code == 2
    assert "distilbert-base-uncased" in err
    assert "--model minilm" in err


def test_version_is_the_packages(secondcoder):
    from importlib.metadata import version

    assert version("secondcoder") in secondcoder("--version")[1]


@pytest.mark.parametrize("min_confidence", [0.871, None])
def test_a_promise_about_errors_is_one_of_the_procedure(min_confidence, capsys):
    """ "kept with 95 % certainty" is read as if it were about the confidence that was found."""
    found = Guarantee(0.05, 0.05, min_confidence, coverage=0.78, error=0.0, bound=0.047, n=80, n_groups=4)
    _say_guarantee(SimpleNamespace(info={"results": {"selection": found.to_dict()}}))
    told = capsys.readouterr().out
    assert found.worth in told
    assert "certain" not in told
    assert ("0.871" in told) == (min_confidence is not None)
