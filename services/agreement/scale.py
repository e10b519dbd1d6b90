"""What counts as the same mark, and which ordered categories kappa is taken over.

=========================  ===================================  ==================================================
grading type               two marks are the same when          categories, lowest first
=========================  ===================================  ==================================================
points, percent            their scores are equal               ten bins, each a tenth of the points possible; what
                                                                is below 0 or above the maximum is in the outermost
letter_grade, gpa_scale    they are the same band               the bands of the scheme in force: the assignment's,
                                                                else the course's, else Canvas's default
pass_fail                  both are complete, or both not       incomplete, complete
=========================  ===================================  ==================================================

Bins and not letter bands for points: a scheme's bands are of unequal width (F is 61 points wide), and an assignment
marked in points was never told one.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from services.moderation import grading_scheme
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.grade_conversion import format_number
from services.moderation.grading_scheme import GradingScheme

Level = Literal["interval", "ordinal", "nominal"]
BINS = 10
# Where nobody names a tolerance: this share of the points possible.
TOLERANCE_SHARE = Decimal("0.05")
_ORDERED = ("letter_grade", "gpa_scale")


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale of an assignment. ``points`` None: it is worth nothing, or nobody has said what.

    ``bands``: highest first; empty where marks are numbers of points. ``level``: of measurement, for alpha.
    """

    grading_type: str
    points: Decimal | None
    bands: GradingScheme
    level: Level

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories, lowest first; none where there is no telling high from low."""
        if self.bands:
            return tuple(name for name, _ in reversed(self.bands))
        if self.points is None:
            return ()
        edges = [format_number(self.points * number / BINS) for number in range(BINS + 1)]
        return tuple(f"{low}–{high}" for low, high in zip(edges, edges[1:], strict=False))

    @property
    def tolerance(self) -> Decimal | None:
        """How far apart two marks may be, in points, where nobody says."""
        return None if self.points is None else Decimal(format_number(self.points * TOLERANCE_SHARE))

    def category(self, score: Decimal, grade: str | None) -> int | None:
        """Place among the categories, from 0; the band that was given counts, while the scheme still has it.

        None where there are no categories.
        """
        if self.bands:
            given = None if grade is None else grading_scheme.canonical_band_name(self.bands, grade)
            name = given or grading_scheme.band_for_score(self.bands, score, self.points or Decimal(100))
            return len(self.bands) - 1 - [band for band, _ in self.bands].index(name)
        if self.points is None:
            return None
        return max(0, min(BINS - 1, int(score * BINS // self.points)))


_PASS_FAIL: GradingScheme = (("complete", Decimal(1)), ("incomplete", Decimal(0)))


def scale_of(course: Course, assignment: Assignment) -> Scale:
    """The scale that an assignment's marks are on now."""
    points = assignment.points_possible
    worth = points if points is not None and points > 0 else None
    if assignment.grading_type in _ORDERED:
        bands = grading_scheme.sort_bands(
            assignment.grading_scheme or course.grading_scheme or grading_scheme.DEFAULT_SCHEME
        )
        return Scale(assignment.grading_type, worth, bands, "ordinal")
    if assignment.grading_type == "pass_fail":
        return Scale(assignment.grading_type, worth, _PASS_FAIL, "nominal")
    return Scale(assignment.grading_type, worth, (), "interval")
