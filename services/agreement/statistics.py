"""Statistics of the agreement between the graders of an assignment.

A *pair* is two graders' marks of one work: a work with three marks has three pairs. Rates are over all pairs of the
assignment, so that a work counts as often as it was compared. Differences are signed, in points: a grader's mark minus
the mean of the other graders' marks of the same work, and minus the grade that was decided on, which is the selected
provisional grade, else the final one that a moderator entered.
"""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from itertools import combinations
from statistics import fmean, stdev

from schemas.agreement import Reason
from services.agreement import require_libraries
from services.agreement.coefficients import KAPPA_CELLS_MAX, Statistic, krippendorff_alpha, weighted_kappa
from services.agreement.figures import Agreement, Difference, DistanceBin, GraderAgreement, GraderPair
from services.agreement.intraclass import IntraclassCorrelation, compute_icc, missing_icc
from services.agreement.ratings import AssignmentRatings, RatedSubmission, Rating
from services.agreement.scale import Scale

# Bars of the distances: equal marks, then up to one, two, … widths apart, then all others.
DISTANCE_STEPS = 4
# Each correlation takes some milliseconds in a large class.
INTRACLASS_PAIRS_MAX = 100
RatingPairs = Sequence[tuple[Rating, Rating]]


def compute_agreement(ratings: AssignmentRatings, tolerance: Decimal | None = None) -> Agreement:
    """Compute the statistics of an assignment's marks; the default tolerance is 5 % of the points possible.

    Raises:
        LibrariesMissing: the extra ``agreement`` is not installed.
    """
    require_libraries()
    scale, submissions = ratings.scale, ratings.submissions
    effective_tolerance = scale.default_tolerance if tolerance is None else tolerance
    pairs_by_graders: defaultdict[tuple[int, int], list[tuple[Rating, Rating]]] = defaultdict(list)
    for submission in submissions:
        for one, other in combinations(submission.ratings, 2):
            pairs_by_graders[one, other].append((submission.ratings[one], submission.ratings[other]))
    rating_pairs = [rating_pair for pair in pairs_by_graders.values() for rating_pair in pair]
    graders = sorted({grader for submission in submissions for grader in submission.ratings})
    pairs = _compare_graders(pairs_by_graders, scale, effective_tolerance)
    return Agreement(
        scale,
        effective_tolerance,
        sum(len(submission.ratings) for submission in submissions),
        len(submissions),
        sum(len(submission.ratings) > 1 for submission in submissions),
        _exact_rate(rating_pairs, scale),
        _within_tolerance_rate(rating_pairs, effective_tolerance),
        _mean_kappa(pairs),
        _assignment_alpha(scale, submissions),
        _assignment_icc(scale, submissions, graders),
        tuple(_compare_with_others(user_id, submissions) for user_id in graders),
        pairs,
        _bin_distances(rating_pairs, effective_tolerance or scale.default_tolerance),
    )


def _compare_graders(
    pairs_by_graders: dict[tuple[int, int], list[tuple[Rating, Rating]]], scale: Scale, tolerance: Decimal | None
) -> tuple[GraderPair, ...]:
    categories = len(scale.categories)
    is_kappa_affordable = len(pairs_by_graders) * categories**2 <= KAPPA_CELLS_MAX
    return tuple(
        GraderPair(
            *users,
            len(rating_pairs),
            _exact_rate(rating_pairs, scale),
            _within_tolerance_rate(rating_pairs, tolerance),
            _summarize_differences([float(one.score - other.score) for one, other in rating_pairs], "no_shared_works"),
            _pair_kappa(rating_pairs, categories)
            if is_kappa_affordable
            else Statistic(None, len(rating_pairs), "too_large"),
            _pair_icc(scale, rating_pairs)
            if len(pairs_by_graders) <= INTRACLASS_PAIRS_MAX
            else missing_icc(len(rating_pairs), "too_large"),
        )
        for users, rating_pairs in sorted(pairs_by_graders.items())
    )


def _exact_rate(rating_pairs: RatingPairs, scale: Scale) -> Statistic:
    if not rating_pairs:
        return Statistic(None, 0, "no_shared_works")
    equal_count = sum(
        one.category_index == other.category_index if scale.bands else one.score == other.score
        for one, other in rating_pairs
    )
    return Statistic(equal_count / len(rating_pairs), len(rating_pairs))


def _within_tolerance_rate(rating_pairs: RatingPairs, tolerance: Decimal | None) -> Statistic:
    if not rating_pairs:
        return Statistic(None, 0, "no_shared_works")
    if tolerance is None:
        return Statistic(None, len(rating_pairs), "no_tolerance")
    return Statistic(
        sum(abs(one.score - other.score) <= tolerance for one, other in rating_pairs) / len(rating_pairs),
        len(rating_pairs),
    )


def _pair_kappa(rating_pairs: RatingPairs, categories: int) -> Statistic:
    category_pairs = [(one.category_index, other.category_index) for one, other in rating_pairs]
    first = [one for one, _ in category_pairs if one is not None]
    second = [other for _, other in category_pairs if other is not None]
    if not first:
        return Statistic(None, len(rating_pairs), "no_categories")
    return weighted_kappa(first, second, categories)


def _mean_kappa(pairs: Sequence[GraderPair]) -> Statistic:
    """Average the kappas of the pairs of graders that have one; ``count``: their works."""
    if not pairs:
        return Statistic(None, 0, "no_shared_works")
    kappas = [
        (pair.weighted_kappa.value, pair.submission_count) for pair in pairs if pair.weighted_kappa.value is not None
    ]
    if not kappas:
        return Statistic(None, sum(pair.submission_count for pair in pairs), pairs[0].weighted_kappa.reason)
    submission_count = sum(count for _, count in kappas)
    return Statistic(fmean([kappa for kappa, _ in kappas], [count for _, count in kappas]), submission_count)


def _assignment_alpha(scale: Scale, submissions: Sequence[RatedSubmission]) -> Statistic:
    ratings_by_submission = [
        list(submission.ratings.values()) for submission in submissions if len(submission.ratings) > 1
    ]
    category_rows = [
        [rating.category_index for rating in ratings if rating.category_index is not None]
        for ratings in ratings_by_submission
    ]
    if scale.bands:
        return krippendorff_alpha(category_rows, scale.measurement_level)
    statistic = krippendorff_alpha(
        [[float(rating.score) for rating in ratings] for ratings in ratings_by_submission], scale.measurement_level
    )
    return (
        krippendorff_alpha(category_rows, scale.measurement_level)
        if statistic.reason == "too_large" and scale.categories
        else statistic
    )


def _assignment_icc(
    scale: Scale, submissions: Sequence[RatedSubmission], graders: Sequence[int]
) -> IntraclassCorrelation:
    if not any(len(submission.ratings) > 1 for submission in submissions):
        return missing_icc(0, "no_shared_works")
    complete_rows = [
        [submission.ratings[grader].score for grader in graders]
        for submission in submissions
        if len(submission.ratings) == len(graders)
    ]
    return _icc(scale, complete_rows)


def _pair_icc(scale: Scale, rating_pairs: RatingPairs) -> IntraclassCorrelation:
    return _icc(scale, [(one.score, other.score) for one, other in rating_pairs])


def _icc(scale: Scale, score_rows: Sequence[Sequence[Decimal]]) -> IntraclassCorrelation:
    """Compute the correlation of scores, which exist for letters too; complete and incomplete are not measurements."""
    return (
        missing_icc(len(score_rows), "no_measurement")
        if scale.measurement_level == "nominal"
        else compute_icc(score_rows)
    )


def _compare_with_others(user_id: int, submissions: Sequence[RatedSubmission]) -> GraderAgreement:
    grader_submissions = [submission for submission in submissions if user_id in submission.ratings]
    differences_from_others = [
        float(submission.ratings[user_id].score)
        - fmean(float(rating.score) for user, rating in submission.ratings.items() if user != user_id)
        for submission in grader_submissions
        if len(submission.ratings) > 1
    ]
    differences_from_decided = [
        float(submission.ratings[user_id].score - submission.decided_score)
        for submission in grader_submissions
        if submission.decided_score is not None
    ]
    return GraderAgreement(
        user_id,
        len(grader_submissions),
        sum(submission.selected_grader_id == user_id for submission in grader_submissions),
        _summarize_differences(differences_from_others, "no_shared_works"),
        _summarize_differences(differences_from_decided, "nothing_decided"),
    )


def _summarize_differences(differences: Sequence[float], empty_reason: Reason) -> Difference:
    count = len(differences)
    if count == 0:
        return Difference(Statistic(None, 0, empty_reason), Statistic(None, 0, empty_reason))
    mean = Statistic(fmean(differences), count)
    return Difference(mean, Statistic(None, 1, "one_work") if count == 1 else Statistic(stdev(differences), count))


def _bin_distances(rating_pairs: RatingPairs, width: Decimal | None) -> tuple[DistanceBin, ...]:
    if not rating_pairs or width is None:
        return ()
    edges = [width * number for number in range(DISTANCE_STEPS + 1)]
    pair_counts = [0] * (DISTANCE_STEPS + 2)
    for one, other in rating_pairs:
        distance = abs(one.score - other.score)
        pair_counts[next((index for index, edge in enumerate(edges) if distance <= edge), DISTANCE_STEPS + 1)] += 1
    return tuple(DistanceBin(edge, count) for edge, count in zip([*edges, None], pair_counts, strict=True))
