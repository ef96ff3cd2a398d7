from pathlib import Path

import pytest

from secondcoder.model.allowlist import _CODE, _QUANTISED
from secondcoder.model.families import FAMILIES
from tests.families import FAMILIES as TINY

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and line.count("|") == 7
]


def test_the_table_has_a_row_for_each_family_and_no_other() -> None:
    assert [row[1] for row in ROWS[1:]] == [f"`{family.model_type}`" for family in FAMILIES]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)
def test_a_row_says_what_the_program_says(family) -> None:
    title, _, first, quirks, when, tested = next(row for row in ROWS if row[1] == f"`{family.model_type}`")
    assert (title, quirks, when) == (family.title, family.quirks, family.when)
    assert first.startswith(f"`{family.checkpoints[0].name}` ({family.checkpoints[0].parameters:,.0f}")
    assert tested == f"all; {'OpenVINO' if family.converts else 'torch'}"


def test_every_family_of_the_page_is_tested() -> None:
    assert {family.model_type for family in FAMILIES} == {tiny.model_type for tiny in TINY.values()}


def test_the_page_names_the_keys_that_are_refused() -> None:
    assert all(f"`{key}`" in PAGE for key in (*_CODE, *_QUANTISED))


def test_the_readme_and_the_quickstart_lead_to_it() -> None:
    docs = Path(__file__).parents[2]
    assert "docs/models.md" in (docs / "README.md").read_text(encoding="utf-8")
    assert "models.md" in (docs / "docs" / "quickstart.md").read_text(encoding="utf-8")
