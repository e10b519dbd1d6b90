"""The colours of the console's stylesheet."""

import re

from services.console.web.templates import STATIC

CSS = STATIC["console.css"].decode()


def colours(block: str) -> dict[str, str]:
    """Return the custom properties of the first block that begins like this."""
    return dict(re.findall(r"(--[\w-]+): ([^;]+);", CSS.partition(block)[2].partition("}")[0]))


def test_system_theme_and_chosen_theme_have_the_same_dark_colours() -> None:
    chosen = colours(':root[data-theme="dark"] {')
    assert colours(':root:not([data-theme="light"]) {') == chosen
    assert chosen.keys() == colours(":root {").keys()
    assert chosen["--back"] != colours(":root {")["--back"]


def test_every_colour_is_one_that_all_browsers_know() -> None:
    values = [*colours(":root {").values(), *colours(':root[data-theme="dark"] {').values()]
    assert values
    assert [value for value in values if re.fullmatch("#[0-9a-f]{6}", value) is None] == []
