"""Types of values that several payloads have."""

from typing import Annotated, Literal, TypeVar

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

T = TypeVar("T")
LeftOut = SkipJsonSchema[None]
Changed = tuple[T | None, T | None] | LeftOut
"""``[old, new]``, or left out."""
Points = Annotated[float, Field(allow_inf_nan=False)]
Bands = list[tuple[str, Points]]
AnonymousId = Annotated[str, Field(pattern=r"^[0-9A-Za-z]+$")]
GradingType = Literal["points", "percent", "letter_grade", "gpa_scale", "pass_fail", "not_graded"]
ModerationSet = Literal["assigned", "selected"]
EnrollmentType = Literal[
    "StudentEnrollment",
    "TeacherEnrollment",
    "TaEnrollment",
    "DesignerEnrollment",
    "ObserverEnrollment",
    "StudentViewEnrollment",
]
EnrollmentState = Literal["active", "inactive", "invited", "creation_pending", "completed", "deleted"]
LatePolicyStatus = Literal["late", "missing", "extended", "none"]
Count = Annotated[int, Field(ge=0)]
