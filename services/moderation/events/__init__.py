"""Domain events (contract section 5). The field names of changes and rows are the storage format.

A change is ``{field: (old, new)}`` with plain values: int ids, Decimal scores, aware datetimes, str, bool, None.
"""

from services.moderation.events.assignment import (
    AssignmentCreated,
    AssignmentUpdated,
    GraderSlotReleased,
    GraderSlotTaken,
    StudentsSelectedForModeration,
    SubmissionsAllocated,
)
from services.moderation.events.base import Changes
from services.moderation.events.course import (
    AdminsUpdated,
    CourseUpdated,
    EnrollmentsUpdated,
    PersonErased,
    UsersUpdated,
)
from services.moderation.events.provisional_grade import (
    ProvisionalCommentCreated,
    ProvisionalGradeAdjudicated,
    ProvisionalGradeCreated,
    ProvisionalGradeSelected,
    ProvisionalGradeUpdated,
)
from services.moderation.events.publication import (
    GradePublished,
    GradeRevised,
    GradesPosted,
    GradeWithdrawn,
    PublicationScheduleCancelled,
    PublicationScheduled,
)
from services.moderation.events.submission import (
    SubmissionCommentRecorded,
    SubmissionHidden,
    SubmissionPosted,
    SubmissionRecorded,
    SubmissionUpdated,
)

__all__ = [
    "AdminsUpdated",
    "AssignmentCreated",
    "AssignmentEvent",
    "AssignmentUpdated",
    "Changes",
    "CourseEvent",
    "CourseUpdated",
    "EnrollmentsUpdated",
    "Event",
    "GradePublished",
    "GradeRevised",
    "GradeWithdrawn",
    "GraderSlotReleased",
    "GraderSlotTaken",
    "GradesPosted",
    "PersonErased",
    "ProvisionalCommentCreated",
    "ProvisionalGradeAdjudicated",
    "ProvisionalGradeCreated",
    "ProvisionalGradeSelected",
    "ProvisionalGradeUpdated",
    "PublicationScheduleCancelled",
    "PublicationScheduled",
    "StudentsSelectedForModeration",
    "SubmissionCommentRecorded",
    "SubmissionHidden",
    "SubmissionPosted",
    "SubmissionRecorded",
    "SubmissionUpdated",
    "SubmissionsAllocated",
    "UsersUpdated",
]

CourseEvent = CourseUpdated | UsersUpdated | EnrollmentsUpdated | AdminsUpdated | PersonErased
AssignmentEvent = (
    AssignmentCreated
    | AssignmentUpdated
    | SubmissionRecorded
    | SubmissionCommentRecorded
    | GraderSlotTaken
    | GraderSlotReleased
    | StudentsSelectedForModeration
    | SubmissionsAllocated
    | ProvisionalGradeCreated
    | ProvisionalGradeUpdated
    | ProvisionalCommentCreated
    | ProvisionalGradeSelected
    | ProvisionalGradeAdjudicated
    | SubmissionUpdated
    | GradePublished
    | GradesPosted
    | PublicationScheduled
    | PublicationScheduleCancelled
    | GradeRevised
    | GradeWithdrawn
    | SubmissionPosted
    | SubmissionHidden
)
Event = CourseEvent | AssignmentEvent
