import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import secondcoder
from secondcoder.cli.main import app, main
from tests.tiny import make_rows

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")


def blocks(page: Path, *languages: str) -> Iterator[str]:
    for language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language in languages:
            yield block


def commands(page: Path) -> list[list[str]]:
    """Return the secondcoder commands of a page's blocks, each as words without the program's name."""
    lines = [line.removeprefix("$ ") for block in blocks(page, "sh", "console") for line in block.splitlines()]
    return [shlex.split(line.partition(" > ")[0])[1:] for line in lines if line.startswith("secondcoder ")]


README = commands(ROOT / "README.md")
TOLD = README + commands(ROOT / "docs" / "quickstart.md")


def test_the_readme_tells_the_main_job_in_five_commands():
    assert [words[0] for words in README] == ["check", "train", "evaluate", "label", "show"]


@pytest.mark.parametrize("words", TOLD, ids=" ".join)
def test_a_command_parses(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # away from any secondcoder.toml
    app.parse_args(words, print_error=False, exit_on_error=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_compile_and_use_public_names_only(page):
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sc":
                assert node.attr in secondcoder.__all__
                assert hasattr(secondcoder, node.attr)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("secondcoder"):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)


def test_names_in_the_prose_are_public():
    for page in PAGES:
        for name in re.findall(r"`sc\.(\w+)", page.read_text(encoding="utf-8")):
            assert hasattr(secondcoder, name), f"{page.name}: sc.{name}"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_links_lead_to_files_that_are_there(page):
    for target, _ in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_files_named_in_the_architecture_exist():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    there = {path.name for path in [*(ROOT / "src").rglob("*"), *(ROOT / "tests").rglob("*")]}
    house = text.partition("    src/secondcoder/\n")[2].partition("\n## Words")[0]
    named = set(re.findall(r"\b\w+\.(?:py|css)\b", text)) | set(re.findall(r"(?<=    )\w+/(?=  )", house))
    assert {name.rstrip("/") for name in named} - there == set()
    modules = {p.name for p in (ROOT / "src" / "secondcoder").rglob("*.py") if p.parent.name != "cli"} - {"__init__.py"}
    assert modules - named == set(), "files that the house does not show"


def test_the_readmes_commands_run_one_after_the_other(tmp_path, monkeypatch, encoder_folder, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    write(tmp_path / "runs" / "demo" / "hand-labelled.csv", "id,text,desk", make_rows(180))
    write(tmp_path / "runs" / "demo" / "corpus.csv", "id,text,desk", make_rows(30, seed=1))
    for words in README:
        with pytest.raises(SystemExit) as leaving:
            main([str(encoder_folder) if word == "minilm" else word for word in words])
        assert leaving.value.code == 0, capsys.readouterr().err
    assert len((tmp_path / "labelled.csv").read_text(encoding="utf-8").splitlines()) == 31
    assert "opened once" in capsys.readouterr().out


def test_the_readmes_python_runs(tmp_path, monkeypatch, encoder_folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.chdir(tmp_path)
    rows = [(f"{i // 10}", f"s{i}", text, label) for i, (text, label) in enumerate(make_rows(120))]
    lines = ["manifesto,sentence_id,text,area", *(",".join(row) for row in rows)]
    (tmp_path / "manifestos.csv").write_text("\n".join(lines), encoding="utf-8")
    pq.write_table(pa.table({"text": [text for text, _ in make_rows(30, seed=1)]}), tmp_path / "corpus.parquet")
    (block,) = blocks(ROOT / "README.md", "python")
    assert "distilbert-base-uncased" in block
    exec(block.replace("distilbert-base-uncased", encoder_folder.as_posix()), {})
    assert pq.read_table(tmp_path / "labelled.parquet").column_names[:2] == ["text", "label"]


def write(path: Path, header: str, rows: list[tuple[str, str]]) -> None:
    lines = [header, *(f"t{i},{text},{label}" for i, (text, label) in enumerate(rows))]
    path.write_text("\n".join(lines), encoding="utf-8")
