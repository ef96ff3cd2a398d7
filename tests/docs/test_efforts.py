from pathlib import Path

from secondcoder.settings import EFFORTS

PAGE = Path(__file__).parents[2] / "docs" / "efforts.md"


def test_the_page_says_what_each_effort_stands_for():
    lines = [line.strip("|").split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    header, _, *rows = ([cell.strip() for cell in line] for line in lines)
    assert header[1:] == list(EFFORTS)
    told = {row[0].split("`")[1].removeprefix("--").replace("-", "_"): row[1:] for row in rows}
    meant = {
        name: [str(recipe.to_dict()[name]) for recipe in EFFORTS.values()]
        for name in next(iter(EFFORTS.values())).to_dict()
    }
    assert told == meant
