"""The order of the house is the order of imports: a file imports from its own folder and from what stands above it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import secondcoder

SOURCE = Path(secondcoder.__file__).parent

# From top to bottom, as in docs/architecture.md.
ORDER = (
    "errors",
    "environment",
    "progress",
    "storage",
    "settings",
    "signatures",
    "formats",
    "corpus",
    "splits",
    "evaluation",
    "model",
    "reporting",
    "training",
    "runs",
    "labelling",
    "estimator",
    "cli",
    "__main__",
)
HEAVY = tuple("torch transformers datasets sklearn scipy pyarrow pandas numpy accelerate matplotlib".split())
LIGHT = ("__init__", "errors", "environment", "progress", "storage", "settings", "signatures")
FILES = sorted(SOURCE.rglob("*.py"))


def place(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> list[str]:
    """Return every module that a file imports, at its top, inside functions, or for types only."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.append(node.module or "")
    return found


def test_every_file_has_its_place_in_the_order():
    assert {place(path) for path in FILES} - {"__init__"} == set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_imports_from_its_own_folder_and_from_above(path):
    if place(path) == "__init__":
        return  # the public names come from everywhere, on first use
    allowed = ORDER[: ORDER.index(place(path)) + 1]
    for module in imported(path):
        if module.startswith("secondcoder."):
            assert module.split(".")[1] in allowed, f"{path.relative_to(SOURCE)} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_is_one_thing(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 600
    if path.name == "__init__.py" and path.parent != SOURCE:
        assert lines == []


def test_light_files_import_nothing_heavy_at_their_top():
    for path in FILES:
        if place(path) in LIGHT or place(path) == "cli":
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not {name.split(".")[0] for name in names} & set(HEAVY), path


def test_help_loads_nothing_heavy():
    code = (
        "import sys, secondcoder.cli.main as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit as e: assert e.code == 0\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "check" in done.stdout


def test_importing_the_package_loads_nothing_else():
    code = "import sys, secondcoder; print([m for m in sys.modules if m.startswith('secondcoder.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


OWN = {f"evaluation/{name}.py" for name in ("tasks", "multiclass", "ordinal", "multilabel")} | {"corpus/labels.py"}
"""Where the label scheme may be asked for; the page's templates may too."""
FLAGS = {"multi_label", "several", "sets", "order", "task"}
"""Attributes that tell it."""
SCHEMES = {"multi-class", "ordinal", "multi-label", "MultiClass", "Ordinal", "MultiLabel", "SetFigures", "OrderFigures"}
SHAPED = ("gold", "self.gold", "rows.gold", "targets", "self.targets", "given", "predicted", "labels")
"""What has another shape or type in each scheme."""


def asks_for_the_scheme(node: ast.AST) -> bool:
    """Return whether an expression looks at the scheme: by its name, a flag, a class, or the shape of gold labels."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and part.value in SCHEMES:
            return True
        if isinstance(part, ast.Name) and part.id in SCHEMES | {"multi_label"}:
            return True
        if isinstance(part, ast.Attribute) and part.attr in FLAGS:
            return True
        if isinstance(part, ast.Attribute) and part.attr in ("ndim", "dtype") and ast.unparse(part.value) in SHAPED:
            return True
    return False


def conditions(path: Path) -> list[int]:
    """Return the lines of a file that branch on the label scheme, or look something up by it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        tests: list[ast.AST] = []
        if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
            tests = [node.test]
        elif isinstance(node, ast.BoolOp | ast.Compare):
            tests = [node]
        elif isinstance(node, ast.comprehension):
            tests = list(node.ifs)
        elif isinstance(node, ast.Match):
            tests = [node.subject]
        elif isinstance(node, ast.Subscript) and not isinstance(node.value, ast.Name | ast.Attribute):
            tests = [node.slice]
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value).isupper():
            tests = [node.slice]  # a table of the module
        found |= {test.lineno for test in tests if asks_for_the_scheme(test)}
    return sorted(found)


def test_the_label_scheme_is_asked_for_in_its_own_files_only():
    """At most 15 lines elsewhere; each has its reason here."""
    found = {}
    for path in FILES:
        name = path.relative_to(SOURCE).as_posix()
        if name not in OWN and (lines := conditions(path)):
            found[name] = len(lines)
    assert found == REASONS
    assert sum(found.values()) <= 15


REASONS = {
    "cli/models.py": 1,  # a table says what joins the names of a set where labels are sets
    "corpus/corpus.py": 3,  # what multi-label means; the sets of labels; a positive class needs two classes
    "evaluation/error_analysis.py": 3,  # rows are told apart by the shape of gold; mistakes are texts or decisions
    "evaluation/evaluation.py": 2,  # an evaluation on disk has no key for its scheme but these parts
    "evaluation/label_errors.py": 1,  # confident learning, of each class by itself or of all
    "model/classifier.py": 1,  # the summary of one label a text stays as it always was
    "runs/compare.py": 2,  # two runs of different schemes
    "splits/draft.py": 1,  # sets of labels are no strata
    "training/recipes.py": 1,  # contrastive training compares texts of one class each
}


JOINS = {
    "cli/models.py": "`show` leaves it out where there is nothing to join",
    "corpus/arrays.py": "reads: sets of labels given to scikit-learn's estimator",
    "corpus/corpus.py": "`Corpus.labels` holds labels as files do; `Corpus.label_sets` holds them for all who compute",
    "corpus/labels.py": "reads: columns of labels",
    "corpus/reading.py": "reads: hands it from the columns to the corpus",
    "labelling/columns.py": "writes: the labels of a corpus, and counts what was written",
    "model/classifier.py": "writes: the model's card keeps it for the files that the model labels",
    "runs/create.py": "writes: run.json keeps it for the rows of the run",
    "runs/folder.py": "reads: run.json, for the rows of the run",
}
"""Files that know what joins the names of a set of labels."""


def test_sets_of_labels_are_joined_and_split_where_files_are_read_and_written_only():
    """The option is no matter here: it is named wherever options are."""
    pattern = re.compile(r"(?<!label[_-])separator|split_set", re.IGNORECASE)
    found = {path.relative_to(SOURCE).as_posix() for path in FILES if pattern.search(path.read_text(encoding="utf-8"))}
    assert found == set(JOINS)
