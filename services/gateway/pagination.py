"""Pagination of lists, and the Link header."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

from fastapi import Request

from services.gateway.responses import not_found

T = TypeVar("T")
PER_PAGE_DEFAULT = 10
PER_PAGE_MAX = 100
PAGE_DIGITS_MAX = 12
OMITTED_LINK_PARAMETERS = ("page", "per_page", "access_token", "api_key")


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list; ``number`` starts at 1."""

    number: int
    size: int

    @property
    def start(self) -> int:
        """Index of the page's first item."""
        return (self.number - 1) * self.size

    def slice_items(self, items: Sequence[T]) -> Sequence[T]:
        """Return the page's items."""
        return items[self.start : self.start + self.size]


def parse_page(request: Request) -> Page:
    """Parse ``page`` and ``per_page``, clamped to 1…100. Raises ApiError: 404 if the page is not a positive number."""
    number, size = request.query_params.get("page", "1"), request.query_params.get("per_page", "")
    if not (number.isascii() and number.isdecimal() and len(number) <= PAGE_DIGITS_MAX and int(number) > 0):
        raise not_found()
    return Page(int(number), _parse_page_size(size))


def _parse_page_size(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()):
        return PER_PAGE_DEFAULT
    size = PER_PAGE_MAX if len(digits) > PAGE_DIGITS_MAX else int(digits)
    return 1 if text.startswith("-") else min(max(size, 1), PER_PAGE_MAX)


def link_header(request: Request, base_url: str, page: Page, count: int) -> dict[str, str]:
    """Build the Link header (current, next, prev, first, last) of a list of ``count`` items."""
    last_page = max(-(-count // page.size), 1)
    numbers = {"current": page.number}
    if page.number < last_page:
        numbers["next"] = page.number + 1
    if page.number > 1:
        numbers["prev"] = page.number - 1
    numbers |= {"first": 1, "last": last_page}
    kept_parameters = [
        pair for pair in parse_qsl(request.url.query, keep_blank_values=True) if pair[0] not in OMITTED_LINK_PARAMETERS
    ]
    path = quote(request.scope["raw_path"].partition(b"?")[0], safe="/%:@!$&'()*+,;=~")
    links = []
    for relation, number in numbers.items():
        query = urlencode([*kept_parameters, ("page", str(number)), ("per_page", str(page.size))])
        links.append(f'<{base_url}{path}?{query}>; rel="{relation}"')
    return {"Link": ",".join(links)}


def parse_list(value: Any) -> list[str]:
    """Return a list parameter such as ``include[]``; a single text is one item."""
    if isinstance(value, list):
        return [item for item in value if isinstance(item, str)]
    return [value] if isinstance(value, str) else []
