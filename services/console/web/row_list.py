"""Finds a student in a table's rows, sorts them, and divides them into pages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlencode

from fastapi import Depends, HTTPException

T = TypeVar("T")
ROWS_MAX = 50
PAGES_MAX = 1_000_000
FIND_CHARACTERS_MAX = 40


@dataclass(frozen=True, slots=True)
class RowQuery:
    """The query of a page with a table of students. ``find``: an id, "" for all; ``sort``: a column, ``-`` reverses."""

    find: str = ""
    sort: str = ""
    page: int = 1


async def _row_query(find: str = "", sort: str = "", students: int = 1) -> RowQuery:
    find = find.strip()
    if len(find) > FIND_CHARACTERS_MAX or not find.isascii():
        raise HTTPException(400, f"A student's id has at most {FIND_CHARACTERS_MAX} letters and digits.")
    return RowQuery(find, sort, min(max(students, 1), PAGES_MAX))


Rows = Annotated[RowQuery, Depends(_row_query)]


@dataclass(frozen=True, slots=True)
class RowPage(Generic[T]):
    """The rows of one page. ``total``: of all rows; ``count``: of the found ones; ``first``: number of the first row.

    ``base`` and ``kept``: path and query of the page, to which links add the table's own parameters.
    """

    rows: Sequence[T]
    total: int
    count: int
    first: int
    query: RowQuery
    base: str
    kept: Mapping[str, str]

    @property
    def has_more(self) -> bool:
        """Whether a page follows."""
        return self.first + len(self.rows) - 1 < self.count

    @property
    def all_link(self) -> str:
        """The link to the rows of all students in the present order."""
        return self._link(find="", sort=self.query.sort)

    def sort_link(self, column: str) -> str:
        """Return the link that sorts by a column, or reverses the order of the sorted one."""
        return self._link(sort=f"-{column}" if self.query.sort == column else column)

    def page_link(self, page: int) -> str:
        """Return the link to a page in the present order."""
        return self._link(sort=self.query.sort, students=str(page))

    def aria_sort(self, column: str) -> str:
        """Return the value of ``aria-sort`` for a column."""
        orders = {column: "ascending", f"-{column}": "descending"}
        return orders.get(self.query.sort, "none")

    def _link(self, **parameters: str) -> str:
        query = {**self.kept, "find": self.query.find, **parameters}
        return f"{self.base}?{urlencode({name: value for name, value in query.items() if value})}"


def build_row_page(
    rows: Sequence[T],
    query: RowQuery,
    base: str,
    get_student: Callable[[T], str],
    columns: Mapping[str, Callable[[T], Any]],
    kept: Mapping[str, str] | None = None,
) -> RowPage[T]:
    """Select the rows of a page; an unknown column keeps the order, and rows without a value come last."""
    found = [row for row in rows if get_student(row) == query.find] if query.find else list(rows)
    get_value = columns.get(query.sort.removeprefix("-"))
    if get_value is not None:
        with_value = [row for row in found if get_value(row) is not None]
        without_value = [row for row in found if get_value(row) is None]
        found = sorted(with_value, key=get_value, reverse=query.sort.startswith("-")) + without_value
    start = (query.page - 1) * ROWS_MAX
    return RowPage(found[start : start + ROWS_MAX], len(rows), len(found), start + 1, query, base, kept or {})
