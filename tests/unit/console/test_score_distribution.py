"""How scores are counted in the parts of a range."""

from decimal import Decimal

from services.console.web.score_distribution import BAR_WIDTH, BINS, build_distribution


def test_scores_are_counted_in_tenths_of_the_points_and_the_top_belongs_to_the_last() -> None:
    pairs = [(Decimal(0), Decimal("1.99")), (Decimal(2), Decimal(20)), (None, Decimal("19.5"))]
    bins = build_distribution(pairs, Decimal(20))
    counts = {part.label: (part.now, part.then) for part in bins if part.now or part.then}
    assert counts == {"0 to 2": (1, 1), "2 to 4": (1, 0), "18 to 20": (0, 2), "no score": (1, 0)}
    assert len(bins) == BINS + 1
    assert max(max(part.now_bar, part.then_bar) for part in bins) == BAR_WIDTH


def test_scores_outside_the_points_have_rows_of_their_own() -> None:
    bins = build_distribution([(Decimal(-1), Decimal("20.5"))], Decimal(20))
    assert (bins[0].label, bins[0].now) == ("below 0", 1)
    assert (bins[-1].label, bins[-1].then) == ("above 20", 1)


def test_range_without_points_is_that_of_the_scores() -> None:
    assert build_distribution([(Decimal(50), None)], None)[-2].label == "45 to 50"
    assert [part.now for part in build_distribution([(None, None)], Decimal(0))] == [0] * BINS + [1]
