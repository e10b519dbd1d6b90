"""The scale of marks: which marks are the same, and the ordered categories for kappa.

=========================  ===================================  ==================================================
grading type               two marks are the same when          categories, lowest first
=========================  ===================================  ==================================================
points, percent            their scores are equal               ten bins, each a tenth of the points possible; what
                                                                is below 0 or above the maximum is in the outermost
letter_grade, gpa_scale    they are the same band               the bands of the scheme in force: the assignment's,
                                                                else the course's, else Canvas's default
pass_fail                  both are complete, or both not       incomplete, complete
=========================  ===================================  ==================================================

Points use bins instead of letter bands, because a scheme's bands have unequal widths (F is 61 points wide), and the
graders of an assignment marked in points do not use a scheme.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from services.moderation import grading_scheme
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.grade_conversion import format_number
from services.moderation.grading_scheme import GradingScheme

MeasurementLevel = Literal["interval", "ordinal", "nominal"]
BIN_COUNT = 10
# The default tolerance, as a share of the points possible.
DEFAULT_TOLERANCE_SHARE = Decimal("0.05")
_BANDED_GRADING_TYPES = ("letter_grade", "gpa_scale")


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale of an assignment. ``points_possible`` None: zero, or unknown.

    ``bands``: highest first; empty where marks are numbers of points. ``measurement_level``: level of measurement,
    for alpha.
    """

    grading_type: str
    points_possible: Decimal | None
    bands: GradingScheme
    measurement_level: MeasurementLevel

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories' names, lowest first; empty if marks have no order."""
        if self.bands:
            return tuple(name for name, _ in reversed(self.bands))
        if self.points_possible is None:
            return ()
        edges = [format_number(self.points_possible * number / BIN_COUNT) for number in range(BIN_COUNT + 1)]
        return tuple(f"{low}–{high}" for low, high in zip(edges, edges[1:], strict=False))

    @property
    def default_tolerance(self) -> Decimal | None:
        """The points by which two marks may differ if the caller states no tolerance."""
        return (
            None
            if self.points_possible is None
            else Decimal(format_number(self.points_possible * DEFAULT_TOLERANCE_SHARE))
        )

    def category_index(self, score: Decimal, grade: str | None) -> int | None:
        """Return a mark's index among the categories, from 0; a band given by name counts if the scheme still has it.

        None if there are no categories.
        """
        if self.bands:
            canonical_name = None if grade is None else grading_scheme.canonical_band_name(self.bands, grade)
            band_name = canonical_name or grading_scheme.band_for_score(
                self.bands, score, self.points_possible or Decimal(100)
            )
            return len(self.bands) - 1 - [band for band, _ in self.bands].index(band_name)
        if self.points_possible is None:
            return None
        return max(0, min(BIN_COUNT - 1, int(score * BIN_COUNT // self.points_possible)))


_PASS_FAIL_BANDS: GradingScheme = (("complete", Decimal(1)), ("incomplete", Decimal(0)))


def build_scale(course: Course, assignment: Assignment) -> Scale:
    """Return the current scale of an assignment's marks."""
    points = assignment.points_possible
    positive_points = points if points is not None and points > 0 else None
    if assignment.grading_type in _BANDED_GRADING_TYPES:
        bands = grading_scheme.sort_bands(
            assignment.grading_scheme or course.grading_scheme or grading_scheme.DEFAULT_SCHEME
        )
        return Scale(assignment.grading_type, positive_points, bands, "ordinal")
    if assignment.grading_type == "pass_fail":
        return Scale(assignment.grading_type, positive_points, _PASS_FAIL_BANDS, "nominal")
    return Scale(assignment.grading_type, positive_points, (), "interval")
