import re
from functools import cache

from secondcoder.reporting.page import render
from tests.reporting.made import Page, content, full_content


@cache
def page() -> str:
    return render(full_content())


def test_a_full_report_shows_every_section_and_closes_its_tags() -> None:
    shown = Page(page())
    assert shown.faults == []
    assert shown.open == []
    for expected in (
        "For these documents only. The test texts come from 3 groups (manifesto)",
        "By cross-fitting, where each of 200 texts from 20 groups",
        "of the best of 3 seeds",
        "Logits are divided by 1.400, which was fitted on dev. Before that: calibration error",
        "Error below 10.0%: label texts with a probability of at least 0.871, 94.3% of all.",
        "The procedure, which may also find no such confidence, keeps this promise in at least 95 of 100 studies",
        "it takes 29 accepted texts, if all are right. Of 100 studies with 35 texts, about 31 would find one",
        "The texts come from 4 groups and are taken as independent",
        "more labels expect",
        "Sure and wrong",
        "12 labels look wrong to a model",
        "rather economic?",
        "Worst groups",
        "By length",
    ):
        assert expected in shown.text


def test_words_that_push_are_marked_and_those_cut_off_struck_through() -> None:
    html = page()
    assert '<mark class="pro" style="--w:1.00">act</mark>' in html
    assert '<span class="unread">' in html
    assert "<b>sch" not in html
    assert "&lt;b&gt;sc" in html


def test_every_picture_says_what_it_shows_and_has_its_numbers_in_a_table() -> None:
    html = page()
    pictures = re.findall(r'<svg class="plot"[^>]*>', html)
    assert len(pictures) == 10
    for picture in pictures:
        assert 'role="img"' in picture
        assert re.search(r'aria-label="[^"]{40,}"', picture)
    assert html.count("The numbers") == 6  # the others stand beside their table


def test_no_two_things_on_the_page_have_the_same_id_and_every_reference_is_met() -> None:
    shown = Page(page())
    ids = [value for name, value in shown.attributes if name == "id"]
    assert len(ids) == len(set(ids)) > 10
    assert {value[1:] for name, value in shown.attributes if name == "href" and value} <= set(ids)


def test_a_report_made_again_is_the_same_and_small() -> None:
    html = page()
    assert html == render(full_content())
    assert len(html.encode()) < 300_000


def test_no_picture_is_referred_to_that_is_not_there() -> None:
    html = render(content(evaluations={}, history=[]))
    assert html.count('<svg class="plot"') == 1  # the shares of the classes
