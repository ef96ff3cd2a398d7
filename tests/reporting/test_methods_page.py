import re
from pathlib import Path

from secondcoder.reporting.references import METHODS

PAGE = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")


def test_every_paper_that_a_report_cites_is_explained_on_the_methods_page() -> None:
    for key, reference in METHODS.items():
        assert reference.split(",")[0] in PAGE, key
        for identifier in re.findall(r"(?:doi:|arXiv:)\S+", reference):
            assert identifier in PAGE, key


def test_every_paper_listed_there_is_cited_there() -> None:
    text, _, references = PAGE.partition("## References")
    for line in references.strip().splitlines():
        author = line.removeprefix("- ").split(",")[0]
        assert author in text, line
