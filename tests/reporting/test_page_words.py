from hypothesis import given
from hypothesis import strategies as st

from secondcoder.reporting.page import Piece, marked

SPAN = st.tuples(st.integers(0, 60), st.integers(0, 60), st.floats(-2, 2))


def word(start: int, end: int, weight: float) -> dict[str, object]:
    return {"start": start, "end": end, "weight": weight}


def test_words_are_marked_by_their_weight_and_faint_ones_are_not() -> None:
    words = [word(3, 7, 1.0), word(8, 11, -0.5), word(0, 2, 0.05)]
    assert marked("We will act.", {"words": words}) == [
        Piece("We "),
        Piece("will", 1.0),
        Piece(" "),
        Piece("act", -0.5),
        Piece("."),
    ]


def test_what_was_not_read_is_told_apart() -> None:
    assert marked("head middle tail", {"words": [], "not_seen": [5, 11]}) == [
        Piece("head "),
        Piece("middle", unread=True),
        Piece(" tail"),
    ]


def test_a_long_text_is_cut_and_says_so() -> None:
    assert marked("abcdef", {"words": [word(2, 6, 1.0)]}, longest=4) == [Piece("ab"), Piece("cd", 1.0), Piece("…")]


@given(st.text(max_size=50), st.lists(SPAN, max_size=8), st.none() | st.tuples(st.integers(0, 60), st.integers(0, 60)))
def test_the_pieces_put_together_are_the_text_whatever_the_words(
    text: str, spans: list[tuple[int, int, float]], not_seen: tuple[int, int] | None
) -> None:
    pieces = marked(text, {"words": [word(*span) for span in spans], "not_seen": not_seen})
    assert "".join(piece.text for piece in pieces) == text
    assert all(-1 <= piece.weight <= 1 for piece in pieces)
