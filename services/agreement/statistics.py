"""How far the graders of an assignment agree.

A *pair* is two graders' marks of one work: a work with three marks makes three. Rates are over all pairs of the
assignment, so that a work counts by how often it was compared. Differences are in points and signed: a grader's is
their mark less the mean of the other graders' marks of the same work, and less the grade that was decided on: the
chosen provisional grade, else the final one that a moderator entered.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from statistics import fmean, stdev

from schemas.agreement import Reason
from services.agreement.coefficients import KAPPA_CELLS_MAX, Figure, alpha, weighted_kappa
from services.agreement.intraclass import Intraclass, intraclass, no_intraclass
from services.agreement.ratings import Mark, Marking, Work
from services.agreement.scale import Scale

# Bars of the distances: equal marks, then up to one, two, … widths apart, then all that is farther.
WIDTHS = 4
# Each takes some ten milliseconds.
INTRACLASS_PAIRS_MAX = 100


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean and sample standard deviation of signed differences, in points."""

    mean: Figure
    deviation: Figure


@dataclass(frozen=True, slots=True)
class Grader:
    """``marks``: how many they gave; ``selected``: how many of them were chosen for publication."""

    user_id: int
    marks: int
    selected: int
    from_others: Difference
    from_decided: Difference


@dataclass(frozen=True, slots=True)
class Pair:
    """Two graders over the works that both marked; ``difference`` is the first's mark less the second's."""

    first: int
    second: int
    works: int
    exact: Figure
    within_tolerance: Figure
    difference: Difference
    kappa: Figure
    intraclass: Intraclass


@dataclass(frozen=True, slots=True)
class Distance:
    """How many pairs are at most so many points apart, and farther than the bar before; None: farther than all."""

    up_to: Decimal | None
    pairs: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """The figures of one assignment. ``tolerance``: in points, None where there is none.

    ``kappa``: the mean of the pairs of graders' kappas, each weighted by its works (Light 1971 weighs them alike, and a
    pair with two works in common would then count as much as one with two hundred). ``alpha`` is taken over scores
    (interval), bands (ordinal) or complete and incomplete (nominal); over bins where a large class has too many scores.
    ``intraclass``: over the works that every grader of the assignment marked; where graders take turns there are none,
    and those of pairs of graders tell more.
    """

    scale: Scale
    tolerance: Decimal | None
    marks: int
    works: int
    works_shared: int
    exact: Figure
    within_tolerance: Figure
    kappa: Figure
    alpha: Figure
    intraclass: Intraclass
    graders: tuple[Grader, ...]
    pairs: tuple[Pair, ...]
    distances: tuple[Distance, ...]


Marks = Sequence[tuple[Mark, Mark]]


def agreement(marking: Marking, tolerance: Decimal | None = None) -> Agreement:
    """The figures of an assignment's marks; without a tolerance of 5 % of the points possible."""
    scale, works = marking.scale, marking.works
    allowed = scale.tolerance if tolerance is None else tolerance
    of_pair: defaultdict[tuple[int, int], list[tuple[Mark, Mark]]] = defaultdict(list)
    for work in works:
        for one, other in combinations(work.marks, 2):
            of_pair[one, other].append((work.marks[one], work.marks[other]))
    compared = [marks for pair in of_pair.values() for marks in pair]
    graders = sorted({grader for work in works for grader in work.marks})
    pairs = _pairs(of_pair, scale, allowed)
    return Agreement(
        scale,
        allowed,
        sum(len(work.marks) for work in works),
        len(works),
        sum(len(work.marks) > 1 for work in works),
        _exact(compared, scale),
        _within(compared, allowed),
        _mean_kappa(pairs),
        _alpha(scale, works),
        _intraclass(scale, works, graders),
        tuple(_grader(user_id, works) for user_id in graders),
        pairs,
        _distances(compared, allowed or scale.tolerance),
    )


def _pairs(
    of_pair: dict[tuple[int, int], list[tuple[Mark, Mark]]], scale: Scale, tolerance: Decimal | None
) -> tuple[Pair, ...]:
    categories = len(scale.categories)
    affordable = len(of_pair) * categories**2 <= KAPPA_CELLS_MAX
    return tuple(
        Pair(
            *users,
            len(marks),
            _exact(marks, scale),
            _within(marks, tolerance),
            _difference([float(one.score - other.score) for one, other in marks], "no_shared_works"),
            _kappa(marks, categories) if affordable else Figure(None, len(marks), "too_large"),
            _intraclass_of_pair(scale, marks)
            if len(of_pair) <= INTRACLASS_PAIRS_MAX
            else no_intraclass(len(marks), "too_large"),
        )
        for users, marks in sorted(of_pair.items())
    )


def _exact(marks: Marks, scale: Scale) -> Figure:
    if not marks:
        return Figure(None, 0, "no_shared_works")
    equal = sum(one.category == other.category if scale.bands else one.score == other.score for one, other in marks)
    return Figure(equal / len(marks), len(marks))


def _within(marks: Marks, tolerance: Decimal | None) -> Figure:
    if not marks:
        return Figure(None, 0, "no_shared_works")
    if tolerance is None:
        return Figure(None, len(marks), "no_tolerance")
    return Figure(sum(abs(one.score - other.score) <= tolerance for one, other in marks) / len(marks), len(marks))


def _kappa(marks: Marks, categories: int) -> Figure:
    places = [(one.category, other.category) for one, other in marks]
    first = [one for one, _ in places if one is not None]
    second = [other for _, other in places if other is not None]
    if not first:
        return Figure(None, len(marks), "no_categories")
    return weighted_kappa(first, second, categories)


def _mean_kappa(pairs: Sequence[Pair]) -> Figure:
    """Over the pairs of graders that have one; ``count``: their works."""
    if not pairs:
        return Figure(None, 0, "no_shared_works")
    known = [(pair.kappa.value, pair.works) for pair in pairs if pair.kappa.value is not None]
    if not known:
        return Figure(None, sum(pair.works for pair in pairs), pairs[0].kappa.reason)
    works = sum(count for _, count in known)
    return Figure(fmean([kappa for kappa, _ in known], [count for _, count in known]), works)


def _alpha(scale: Scale, works: Sequence[Work]) -> Figure:
    shared = [list(work.marks.values()) for work in works if len(work.marks) > 1]
    places = [[mark.category for mark in marks if mark.category is not None] for marks in shared]
    if scale.bands:
        return alpha(places, scale.level)
    found = alpha([[float(mark.score) for mark in marks] for marks in shared], scale.level)
    return alpha(places, scale.level) if found.reason == "too_large" and scale.categories else found


def _intraclass(scale: Scale, works: Sequence[Work], graders: Sequence[int]) -> Intraclass:
    if not any(len(work.marks) > 1 for work in works):
        return no_intraclass(0, "no_shared_works")
    by_all = [[work.marks[grader].score for grader in graders] for work in works if len(work.marks) == len(graders)]
    return _measured(scale, by_all)


def _intraclass_of_pair(scale: Scale, marks: Marks) -> Intraclass:
    return _measured(scale, [(one.score, other.score) for one, other in marks])


def _measured(scale: Scale, works: Sequence[Sequence[Decimal]]) -> Intraclass:
    """Scores are points, also below letters; complete and incomplete are points by name alone."""
    return no_intraclass(len(works), "no_measurement") if scale.level == "nominal" else intraclass(works)


def _grader(user_id: int, works: Sequence[Work]) -> Grader:
    own = [work for work in works if user_id in work.marks]
    from_others = [
        float(work.marks[user_id].score)
        - fmean(float(mark.score) for user, mark in work.marks.items() if user != user_id)
        for work in own
        if len(work.marks) > 1
    ]
    from_decided = [float(work.marks[user_id].score - work.decided) for work in own if work.decided is not None]
    return Grader(
        user_id,
        len(own),
        sum(work.selected == user_id for work in own),
        _difference(from_others, "no_shared_works"),
        _difference(from_decided, "nothing_decided"),
    )


def _difference(differences: Sequence[float], nothing: Reason) -> Difference:
    count = len(differences)
    if count == 0:
        return Difference(Figure(None, 0, nothing), Figure(None, 0, nothing))
    mean = Figure(fmean(differences), count)
    return Difference(mean, Figure(None, 1, "one_work") if count == 1 else Figure(stdev(differences), count))


def _distances(marks: Marks, width: Decimal | None) -> tuple[Distance, ...]:
    if not marks or width is None:
        return ()
    edges = [width * number for number in range(WIDTHS + 1)]
    pairs = [0] * (WIDTHS + 2)
    for one, other in marks:
        apart = abs(one.score - other.score)
        pairs[next((place for place, edge in enumerate(edges) if apart <= edge), WIDTHS + 1)] += 1
    return tuple(Distance(edge, count) for edge, count in zip([*edges, None], pairs, strict=True))
