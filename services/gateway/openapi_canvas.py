"""The OpenAPI description of Canvas's operations."""

from schemas.canvas import courses, errors, people, submissions
from schemas.fields import ITEMS_MAX
from services.gateway.openapi_parts import (
    ID_SCHEMA,
    PAGE_PARAMETERS,
    STUDENT_SCHEMA,
    TEXT_TYPES,
    Document,
    boolean_schema,
    object_schema,
    query_parameter,
    read_operation,
    write_operation,
)

_INCLUDE_PARAMETER = query_parameter(
    "include[]",
    "what to add: provisional_grades, submission_comments, rubric_assessment, visibility, user, html_url, group;"
    " other names are ignored",
    {"type": "array", "items": {"type": "string"}},
)
_SORT_PARAMETERS = (
    query_parameter("sort", "`name` sorts by sortable name, anything else by id", {"type": "string"}),
    query_parameter("order", "`desc` reverses the order", {"type": "string"}),
)
_LAST_UPDATED_AT_PARAMETER = query_parameter(
    "last_updated_at",
    "the last change of the submission that the caller knows",
    {"type": "string", "format": "date-time"},
)
_EMPTY_SCHEMAS = [{"type": "null"}, {"const": ""}]
GRADE_GROUPS: dict[str, dict[str, Document]] = {
    "submission": {
        "posted_grade": {
            "type": TEXT_TYPES,
            "maxLength": 255,
            "description": "the grade as a text, such as `16.5`, `85%`, `B+`, `complete`; an empty text clears it",
        },
        "grade": {"type": TEXT_TYPES, "maxLength": 255, "description": "the same, used if there is no posted_grade"},
        "score": {"type": ["number", "string", "null"], "description": "points, used if there is no posted_grade"},
        "excuse": boolean_schema("excuse the student"),
        "provisional": boolean_schema("a provisional grade or comment; required, other grades are not accepted"),
        "final": boolean_schema("the moderator's own final grade, instead of an ordinary provisional one"),
        "graded_anonymously": boolean_schema("the grader did not see the student's name; for information only"),
    },
    "comment": {
        "text_comment": {
            "type": TEXT_TYPES,
            "maxLength": 65_536,
            "description": "a comment on the provisional grade, published with it if it is selected",
        }
    },
    "rubric_assessment": {},
}
_GROUP_DESCRIPTIONS = {
    "submission": "the grade",
    "comment": "a comment",
    "rubric_assessment": "ratings by criterion, with `points`, `comments`, `rating_id`; they do not change the score",
}
_INCLUDE_SCHEMA = {"type": "array", "items": {"type": "string"}, "description": "`visibility`; others are ignored"}
_PREFER_POINTS_FIELD = {
    "prefer_points_over_scheme": boolean_schema("a number means points, even if a band has that name")
}
_GRADE_FIELDS: dict[str, Document] = (
    {
        group: {
            "anyOf": [object_schema(parts, required=False) if parts else {"type": "object"}, *_EMPTY_SCHEMAS],
            "description": _GROUP_DESCRIPTIONS[group],
        }
        for group, parts in GRADE_GROUPS.items()
    }
    | _PREFER_POINTS_FIELD
    | {"include": _INCLUDE_SCHEMA}
)
_GRADE_FORM_FIELDS = (
    {f"{group}[{name}]": schema for group, parts in GRADE_GROUPS.items() for name, schema in parts.items()}
    | _PREFER_POINTS_FIELD
    | {"include[]": _INCLUDE_SCHEMA}
)
_RUBRIC_FORM_PATTERN = {"^rubric_assessment\\[[^\\[\\]]+\\]\\[[^\\[\\]]+\\]$": {"type": "string"}}
LIST_STUDENTS = read_operation(
    list[people.User | people.AnonymousStudent],
    "The moderation set, by user id; by anonymous id if it was picked by hand and the assignment hides its students",
    paginated=True,
    query=PAGE_PARAMETERS,
)
STATUS = read_operation(
    submissions.Status,
    "Whether the caller may grade, and the provisional grades",
    query=(query_parameter("student_id", "the student", ID_SCHEMA, required=True), _LAST_UPDATED_AT_PARAMETER),
)
ANONYMOUS_STATUS = read_operation(
    submissions.Status,
    "The status by the submission's anonymous id",
    query=(
        query_parameter("anonymous_id", "of the submission", {"type": "string", "minLength": 1}, required=True),
        _LAST_UPDATED_AT_PARAMETER,
    ),
)
SHOW_SUBMISSION = read_operation(submissions.Submission, "A student's submission", query=(_INCLUDE_PARAMETER,))
SHOW_ANONYMOUS_SUBMISSION = SHOW_SUBMISSION
LIST_SUBMISSIONS = read_operation(
    list[submissions.Submission],
    "The submissions, by student",
    paginated=True,
    query=(_INCLUDE_PARAMETER, *PAGE_PARAMETERS),
)
LIST_GRADEABLE = read_operation(
    list[submissions.GradeableStudent],
    "The students to grade",
    paginated=True,
    query=(_INCLUDE_PARAMETER, *_SORT_PARAMETERS, *PAGE_PARAMETERS),
)
ADD_STUDENTS = write_operation(
    list[people.User | people.AnonymousStudent],
    "All accepted students, new in the set or not",
    {
        "student_ids": {
            "type": "array",
            "items": STUDENT_SCHEMA,
            "minItems": 1,
            "maxItems": ITEMS_MAX,
            "description": "the students to add",
        }
    },
)
ADD_STUDENTS["responses"][400] |= {
    "model": errors.Message | list[None],
    "description": "The request is invalid; an empty list if student_ids is missing",
}
BULK_SELECT = write_operation(
    list[submissions.Selection],
    "The selections that changed",
    {
        "provisional_grade_ids": {
            "type": "array",
            "items": ID_SCHEMA,
            "maxItems": ITEMS_MAX,
            "description": "the grades to publish; unknown ids are ignored, and the last one of a student counts",
        }
    },
)
SELECT = write_operation(submissions.Selection, "The selection", {})
GRADE = write_operation(
    submissions.Graded,
    "The submission after the change",
    _GRADE_FIELDS,
    form=_GRADE_FORM_FIELDS,
    form_patterns=_RUBRIC_FORM_PATTERN,
    bad_request_model=errors.GradingError,
)
GRADE_ANONYMOUSLY = GRADE
GET_COURSE = read_operation(courses.Course, "The course")
LIST_ASSIGNMENTS = read_operation(
    list[courses.Assignment], "The assignments, by id", paginated=True, query=PAGE_PARAMETERS
)
GET_ASSIGNMENT = read_operation(courses.Assignment, "The assignment")
_TEXT_LIST = {"type": "array", "items": {"type": "string"}}
_USER_INCLUDE_PARAMETER = query_parameter("include[]", "`enrollments`; other names are ignored", _TEXT_LIST)
LIST_COURSE_USERS = read_operation(
    list[people.CourseUser],
    "The users, by sortable name",
    paginated=True,
    query=(
        query_parameter("enrollment_type[]", "teacher, ta, student, observer, designer, student_view", _TEXT_LIST),
        query_parameter("enrollment_state[]", "default active and invited", _TEXT_LIST),
        query_parameter("user_ids[]", "only these users", {"type": "array", "items": ID_SCHEMA, "minItems": 1}),
        query_parameter("search_term", "part of a name, login or SIS id, or a whole id", {"type": "string"}),
        _USER_INCLUDE_PARAMETER,
        *PAGE_PARAMETERS,
    ),
)
GET_COURSE_USER = read_operation(people.CourseUser, "The user", query=(_USER_INCLUDE_PARAMETER,))
GET_SELF = read_operation(people.User, "The caller")
