"""Ids that the service generates: pure functions of a stream's number, its secret and the order of first enrolment.

A generated id is valid until the LMS states one, and is never given to another student.
"""

import hashlib
import hmac
from collections.abc import Iterator
from itertools import count, islice
from uuid import UUID

from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.ordinal_permutation import ORDINAL_BITS, ORDINAL_MAX, OrdinalPermutation

IDS_PER_ASSIGNMENT = 1 << 20
_BASE58_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def next_provisional_grade_id(assignment: Assignment) -> int:
    """Return the next provisional grade's id: ascending, unique over all assignments, below 2**53."""
    return assignment.stream_number * IDS_PER_ASSIGNMENT + len(assignment.provisional_grades) + 1


def next_comment_id(assignment: Assignment) -> int:
    """Return the next comment's id, ascending and unique like those of provisional grades."""
    return assignment.stream_number * IDS_PER_ASSIGNMENT + assignment.comment_count + 1


def submission_id(course: Course, assignment: Assignment, student_id: int) -> int:
    """Return the stated id, else the generated one."""
    lms_submission_id = assignment.submission(student_id).submission_id
    if lms_submission_id is not None:
        return lms_submission_id
    return generated_submission_id(course, assignment, student_id)


def generated_submission_id(course: Course, assignment: Assignment, student_id: int) -> int:
    """Return an id that is not stated for another student.

    The secret permutes the student's ordinal, so that ids of anonymous submissions do not reveal the roster's order.
    """
    permuted_ordinal = _ordinal_permutation(assignment).permute(course.student_ordinals.get(student_id, 0))
    generated_id = assignment.stream_number * IDS_PER_ASSIGNMENT + permuted_ordinal
    if generated_id not in assignment.students_by_lms_submission_id:
        return generated_id
    return generated_id + (1 << ORDINAL_BITS)


def _ordinal_permutation(assignment: Assignment) -> OrdinalPermutation:
    if assignment.ordinal_permutation is None:
        assignment.ordinal_permutation = OrdinalPermutation(assignment.secret)
    return assignment.ordinal_permutation


def find_student_by_submission_id(course: Course, assignment: Assignment, wanted_id: int) -> int | None:
    """Return the student to whom an id belongs for good: the LMS stated it, or a published grade contained it."""
    holder = assignment.students_by_lms_submission_id.get(wanted_id)
    if holder is not None or assignment.grades_published_at is None:
        return holder
    ordinal = _ordinal_permutation(assignment).invert(wanted_id & ORDINAL_MAX)
    if not 0 < ordinal <= len(course.student_ordinals):
        return None
    student_id = next(islice(course.student_ordinals, ordinal - 1, None))
    return student_id if submission_id(course, assignment, student_id) == wanted_id else None


def generate_grader_anonymous_id(assignment: Assignment, user_id: int) -> str:
    """Return five base-58 characters, unique among the assignment's graders."""
    used_ids = set(assignment.grader_slots.values())
    candidates = _anonymous_id_candidates(assignment.secret, b"grader", user_id)
    return next(candidate for candidate in candidates if candidate not in used_ids)


def anonymous_id(course: Course, assignment: Assignment, student_id: int) -> str:
    """Return the stated anonymous id, else the generated one.

    Ids are generated in the order of first enrolment and skip those that are taken, so that it does not matter when
    an id is first read: an id that was generated, or could have been, is refused to any other student afterwards.
    """
    lms_anonymous_id = assignment.submission(student_id).anonymous_id
    if lms_anonymous_id is not None:
        return lms_anonymous_id
    _generate_anonymous_ids(course, assignment)
    return assignment.generated_anonymous_ids[student_id]


def student_key(course: Course, assignment: Assignment, student_id: int, anonymous: bool) -> dict[str, int | str]:
    """Return the key that identifies a student in an answer: ``student_id``, or ``anonymous_id`` if ``anonymous``."""
    if anonymous:
        return {"anonymous_id": anonymous_id(course, assignment, student_id)}
    return {"student_id": student_id}


def find_student_by_anonymous_id(course: Course, assignment: Assignment, wanted_id: str) -> int | None:
    """Return the student whom an anonymous id identifies, or has identified before."""
    _generate_anonymous_ids(course, assignment)
    student_id = assignment.students_by_generated_anonymous_id.get(wanted_id)
    return assignment.students_by_lms_anonymous_id.get(wanted_id) if student_id is None else student_id


def _generate_anonymous_ids(course: Course, assignment: Assignment) -> None:
    """Generate ids for the students enrolled since the last call."""
    if len(assignment.generated_anonymous_ids) == len(course.student_ordinals):
        return
    for student_id in islice(course.student_ordinals, len(assignment.generated_anonymous_ids), None):
        generated_id = next(
            candidate
            for candidate in _anonymous_id_candidates(assignment.secret, b"student", student_id)
            if candidate not in assignment.students_by_generated_anonymous_id
            and assignment.students_by_lms_anonymous_id.get(candidate, student_id) == student_id
        )
        assignment.generated_anonymous_ids[student_id] = generated_id
        assignment.students_by_generated_anonymous_id[generated_id] = student_id


def draw_order(assignment: Assignment, purpose: bytes, *numbers: int) -> bytes:
    """Return a sort key for drawing students or graders: HMAC(secret, purpose, numbers), different per purpose."""
    message = b" ".join((b"draw", purpose, *(b"%d" % number for number in numbers)))
    return hmac.digest(assignment.secret, message, hashlib.sha256)


def derived_command_id(secret: bytes, purpose: bytes, cause_id: str) -> str:
    """Return the UUIDv8 of HMAC(secret, purpose, cause), which is reproducible only with the secret."""
    digest = hmac.digest(secret, b"%b %b" % (purpose, cause_id.encode()), hashlib.sha256)
    return build_uuid8(digest[:16])


def build_uuid8(digest: bytes) -> str:
    """Build a UUID of version 8 from 16 bytes of a digest."""
    number = int.from_bytes(digest, "big") & ~(0xF << 76) | 8 << 76
    return str(UUID(int=number & ~(0x3 << 62) | 0x2 << 62))


def _anonymous_id_candidates(secret: bytes, purpose: bytes, user_id: int) -> Iterator[str]:
    """Yield base 58 of HMAC(secret, purpose, user, i) for i = 0, 1, …, five characters each."""
    for attempt in count():
        message = b"%b %d %d" % (purpose, user_id, attempt)
        remainder = int.from_bytes(hmac.digest(secret, message, hashlib.sha256)[:8], "big")
        candidate = ""
        for _ in range(5):
            remainder, digit = divmod(remainder, 58)
            candidate += _BASE58_ALPHABET[digit]
        yield candidate
