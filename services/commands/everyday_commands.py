"""Parses the most frequent commands of graders and moderators in one pass.

Nothing is refused here: any other value is parsed by its schema (schemas.commands), which explains what is wrong with
it. So the only possible mistakes of this module are to accept too much, or to parse something differently.
"""

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.fields import COMMENT_MAX, CORRELATION_ID_MAX, ID_MAX, NAME_MAX, NIL_UUID, SCORE_MAX, UUID_PATTERN
from services.commands.parsed_command import ParsedCommand, hash_content
from services.moderation import commands

Id: TypeAlias = int | str
Flag: TypeAlias = bool | None | UnsetType
Comment: TypeAlias = Annotated[str, Meta(max_length=COMMENT_MAX)]
GradeText: TypeAlias = Annotated[str, Meta(max_length=NAME_MAX)]
Score: TypeAlias = (
    Annotated[int, Meta(ge=-SCORE_MAX, le=SCORE_MAX)] | Annotated[float, Meta(ge=-SCORE_MAX, le=SCORE_MAX)]
)
_JSON_WHITE_SPACE = b" \t\n\r"
_FLAG_FIELDS = ("final", "prefer_points_over_scheme")
_UUID = re.compile(UUID_PATTERN[1:-1])
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{3})?Z")
_ZERO = Decimal(0)


class Actor(Struct, forbid_unknown_fields=True, gc=False):
    user_id: Id


class ProvisionalGradeData(Struct, forbid_unknown_fields=True, gc=False):
    student_id: Id
    posted_grade: GradeText | None | UnsetType = UNSET
    prefer_points_over_scheme: Flag = UNSET
    score: Score | None | UnsetType = UNSET
    excuse: Flag = UNSET
    final: Flag = UNSET
    graded_anonymously: Flag = UNSET
    comment: Comment | None | UnsetType = UNSET


class ProvisionalCommentData(Struct, forbid_unknown_fields=True, gc=False):
    student_id: Id
    comment: Comment
    final: Flag = UNSET


class SelectionData(Struct, forbid_unknown_fields=True, gc=False):
    provisional_grade_id: Id


class Envelope(Struct, tag_field="type", forbid_unknown_fields=True, gc=False, kw_only=True):
    command_id: str
    issued_at: str
    root_account_id: Id
    course_id: Id
    assignment_id: Id
    actor: Actor
    version: Literal[1] | UnsetType = UNSET
    correlation_id: Annotated[str, Meta(max_length=CORRELATION_ID_MAX)] | UnsetType = UNSET


class RecordProvisionalGrade(Envelope, tag="record_provisional_grade", kw_only=True):
    data: ProvisionalGradeData


class RecordProvisionalComment(Envelope, tag="record_provisional_comment", kw_only=True):
    data: ProvisionalCommentData


class SelectProvisionalGrade(Envelope, tag="select_provisional_grade", kw_only=True):
    data: SelectionData


_decode = msgspec.json.Decoder(RecordProvisionalGrade | RecordProvisionalComment | SelectProvisionalGrade).decode
_DATA_TYPES: dict[type, tuple[str, type[Any], str]] = {
    RecordProvisionalGrade: ("record_provisional_grade", commands.RecordProvisionalGrade, "student_id"),
    RecordProvisionalComment: ("record_provisional_comment", commands.RecordProvisionalComment, "student_id"),
    SelectProvisionalGrade: ("select_provisional_grade", commands.SelectProvisionalGrade, "provisional_grade_id"),
}
"""By struct: the command's type, the domain class of its data, and the field that is an id."""
# type, command_id, issued_at, three ids, actor with user_id, and data.
_ENVELOPE_KEYS = 9


def parse_everyday_command(value: bytes) -> ParsedCommand | None:
    """Parse a command as its schema does; None unless it is certainly a valid one of these types."""
    # Escapes may be NUL characters or lone surrogates.
    if b"\\u" in value:
        return None
    try:
        command = _decode(value)
        if _TIME.fullmatch(command.issued_at) is None or _UUID.fullmatch(command.command_id) is None:
            return None
        datetime.fromisoformat(command.issued_at)
        root_account_id, course_id = _parse_id(command.root_account_id), _parse_id(command.course_id)
        assignment_id, actor_id = _parse_id(command.assignment_id), _parse_id(command.actor.user_id)
        data = command.data
        sent: dict[str, Any] = msgspec.to_builtins(data)  # Without fields that are not set.
        command_type, data_type, id_name = _DATA_TYPES[command.__class__]
        sent[id_name] = _parse_id(sent[id_name])
    # The schema's parser refuses values that are nested too deep.
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    command_id = command.command_id.lower()
    correlation_id = None if command.correlation_id is UNSET else command.correlation_id
    key_count = _ENVELOPE_KEYS + len(sent) + (command.version is not UNSET) + (correlation_id is not None)
    if (
        command_id == NIL_UUID
        or (correlation_id is not None and not correlation_id.isprintable())
        # The text has more keys than were parsed: one is repeated, or a string contains what looks like a key.
        or value.translate(None, _JSON_WHITE_SPACE).count(b'":') != key_count
    ):
        return None
    fields = sent.copy()
    if (score := sent.get("score")) is not None:
        fields["score"] = _parse_score(score)
        # Avoid -0.0, which would have a different content hash.
        sent["score"] = score + 0.0
    for name in _FLAG_FIELDS:
        if name in sent:
            fields[name] = sent[name] is True
    return ParsedCommand(
        commands.Command(
            command_id=command_id,
            type=command_type,
            root_account_id=root_account_id,
            course_id=course_id,
            assignment_id=assignment_id,
            actor_id=actor_id,
            data=data_type(**fields),
        ),
        hash_content(command_type, (root_account_id, course_id, assignment_id, actor_id), sent),
        correlation_id,
    )


def _parse_id(value: Id) -> int:
    number = int(value)
    # int() accepts blanks, signs, underscores, leading zeros and digits of any script.
    if not 0 < number <= ID_MAX or (value.__class__ is str and str(number) != value):
        raise ValueError
    return number


def _parse_score(score: float) -> Decimal:
    if isinstance(score, int):
        return Decimal(score)
    return Decimal(repr(score)) if score else _ZERO
