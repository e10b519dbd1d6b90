"""Tables as CSV files: what a page's table shows, in UTC, without the page's number formats."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from fastapi import Request
from fastapi.responses import Response

T = TypeVar("T")
Cell = str | int | float | datetime | None
QUERY_PARAMETER = "csv"
"""The query parameter of a page that asks for one of its tables; the other parameters filter it as on the page."""
MEDIA_TYPE = "text/csv; charset=utf-8"
BYTE_ORDER_MARK = "\ufeff"
"""Without it Excel takes UTF-8 for the system's code page."""
NUMBER_DIGITS_MAX = 15
"""Spreadsheets round numbers with more digits, such as the ids of a large Canvas."""
# Where the list separator is a semicolon or tab, a spreadsheet divides a cell there, and at line feeds. It also runs
# formulas after spaces and quotes.
_FORMULA_START = re.compile("""(?:^|(?<=[;\t\r\n]))(?=[\\s"]*[=+\\-@＝＋－＠])|^(?=[\t\r\n])""")
_PLAIN_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class CsvTable(Generic[T]):
    """A table's name in links and file names, and the value of each column for a row."""

    name: str
    columns: Mapping[str, Callable[[T], Cell]]

    def respond(self, rows: Iterable[T]) -> Response:
        """Return the rows as a file to download."""
        file = io.StringIO(newline="")
        writer = csv.writer(file)
        writer.writerow(self.columns)
        writer.writerows([format_cell(get_value(row)) for get_value in self.columns.values()] for row in rows)
        headers = {"content-disposition": f'attachment; filename="{self.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.csv"'}
        return Response(BYTE_ORDER_MARK + file.getvalue(), media_type=MEDIA_TYPE, headers=headers)


def format_cell(value: Cell) -> str:
    """Format a value: times as ISO 8601 in UTC, with apostrophes in texts that a spreadsheet would change or run."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    text = str(value)
    if _PLAIN_NUMBER.fullmatch(text):
        is_rounded = sum(map(str.isdigit, text)) > NUMBER_DIGITS_MAX
        return f"'{text}" if is_rounded else text
    return _FORMULA_START.sub("'", text)


def build_csv_link(request: Request, name: str) -> str:
    """Return the link to a table of a page, with the filters of the request."""
    url = request.url.include_query_params(**{QUERY_PARAMETER: name})
    return f"{url.path}?{url.query}"
