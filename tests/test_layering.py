"""The order of the house is the order of imports: a file imports from its own folder and from what stands above it."""

import ast
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
LIGHT = ("__init__", "errors", "environment", "progress", "storage", "settings")
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
