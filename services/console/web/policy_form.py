"""The form in which a user writes an adjudication policy, and the policy that it means."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from schemas.adjudication import AdjudicationPolicy as PolicyDocument
from services.commands.to_domain import to_domain_policy
from services.console.web.policy_text import THIRD_RESULTS
from services.moderation.adjudication_policy import GRADING_SCHEME, THIRD_MARK, AdjudicationPolicy, policy_to_json
from services.moderation.moderation_checks import check_policy

Json = dict[str, Any]
FIELDS = ("marks", "within_points", "within_percent", "boundaries", "result", "step", "mode", "otherwise")
DEFAULTS = {"marks": "2", "result": "mean", "step": "0.01", "mode": "half_up", "otherwise": "moderator"}
ERRORS_MAX = 5


@dataclass(frozen=True, slots=True)
class PolicyForm:
    """The fields as texts, and the policy that they describe; ``problem``: why they describe none."""

    fields: Mapping[str, str]
    policy: AdjudicationPolicy | None
    problem: str | None = None


def read_form(query: Mapping[str, str], own_policy: AdjudicationPolicy | None, grading_type: str) -> PolicyForm:
    """Read the policy from a query; without one it is the assignment's own, or a proposal if it has none."""
    if "result" not in query:
        fields = DEFAULTS if own_policy is None else _to_fields(policy_to_json(own_policy))
        return _parse(fields, grading_type) if own_policy is None else PolicyForm(fields, own_policy)
    return _parse({name: query.get(name, "").strip() for name in FIELDS}, grading_type)


def _parse(fields: Mapping[str, str], grading_type: str) -> PolicyForm:
    try:
        policy = to_domain_policy(PolicyDocument.model_validate(_to_document(fields)))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)[:ERRORS_MAX]
        problems = "; ".join(f"{'.'.join(map(str, detail['loc'][:2]))}: {detail['msg']}" for detail in details)
        return PolicyForm(fields, None, problems)
    assert policy is not None
    refusal = check_policy(policy, grading_type)
    return PolicyForm(fields, None if refusal else policy, None if refusal is None else refusal.message)


def _to_document(fields: Mapping[str, str]) -> Json:
    marks, boundaries, otherwise = fields["marks"], fields.get("boundaries", ""), fields["otherwise"]
    document: Json = {
        "marks": int(marks) if marks.isascii() and marks.isdecimal() and len(marks) < 4 else marks,
        "result": fields["result"],
        "rounding": {"step": fields["step"], "mode": fields["mode"]},
    }
    document |= {name: fields[name] for name in ("within_points", "within_percent") if fields.get(name)}
    if boundaries == GRADING_SCHEME:
        document["boundaries"] = boundaries
    elif boundaries:
        document["boundaries"] = boundaries.replace(",", " ").split()
    if otherwise in THIRD_RESULTS:
        document |= {"otherwise": THIRD_MARK, "third": otherwise}
    else:
        document["otherwise"] = otherwise
    return document


def _to_fields(policy: Json) -> dict[str, str]:
    boundaries = policy["boundaries"]
    return {
        "marks": str(policy["marks"]),
        "within_points": policy["within_points"] or "",
        "within_percent": policy["within_percent"] or "",
        "boundaries": boundaries if isinstance(boundaries, str) else " ".join(boundaries or ()),
        "result": policy["result"],
        "step": policy["rounding"]["step"],
        "mode": policy["rounding"]["mode"],
        "otherwise": policy["third"] or policy["otherwise"],
    }
