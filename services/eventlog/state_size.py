"""Estimates the memory of a state without visiting each of its parts.

The numbers are those of typical rows, including their share of dictionaries and of the allocator's overhead; a test
compares them with the measured memory of states. The cache counts large texts separately, when it applies their events.
"""

from services.moderation.assignment import Assignment
from services.moderation.course import Course

STREAM_BYTES = 2_000
ENROLLMENT_BYTES = 550
USER_BYTES = 850
# With a short comment.
GRADE_BYTES = 600
TOUCHED_SUBMISSION_BYTES = 150
SUBMISSION_BYTES = 650
# Events of up to this many characters are included in the numbers above.
SMALL_EVENT_CHARACTERS = 600
# A text with one character beyond the basic plane, such as an emoji, takes as much for each of its characters.
CHARACTER_BYTES_MAX = 4


def estimate_large_event_bytes(data: str) -> int:
    """Estimate the memory of a large event's texts; 0 for every other event. ``data``: with the personal texts."""
    if len(data) <= SMALL_EVENT_CHARACTERS:
        return 0
    return len(data) if data.isascii() else CHARACTER_BYTES_MAX * len(data)


def estimate_course_bytes(course: Course) -> int:
    """Estimate the memory of a course."""
    return STREAM_BYTES + len(course.enrollments) * ENROLLMENT_BYTES + len(course.users) * USER_BYTES


def estimate_assignment_bytes(assignment: Assignment) -> int:
    """Estimate the memory of an assignment without large texts."""
    touched_count = len(assignment.submissions) - assignment.full_submission_count
    return (
        STREAM_BYTES
        + len(assignment.provisional_grades) * GRADE_BYTES
        + touched_count * TOUCHED_SUBMISSION_BYTES
        + assignment.full_submission_count * SUBMISSION_BYTES
    )
