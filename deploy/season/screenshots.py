"""Takes screenshots of the console's pages on the running stack, for the README, with Chromium."""

import io
import os
import shutil
import sys

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from deploy.local.paths import ROOT
from deploy.local.stack_keys import create_token

FOLDER = ROOT / "deploy" / "images"
WIDE_VIEWPORT, NARROW_VIEWPORT = ViewportSize(width=1280, height=860), ViewportSize(width=390, height=860)
CHROMIUM_SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# Enough for text on plain backgrounds, at half the file size.
COLOURS = 96
ADMIN = "1"


def main() -> None:
    """Take all screenshots. SystemExit without Chromium, or before a season was played."""
    chromium_path = shutil.which("chromium")
    if chromium_path is None:
        sys.exit("deploy/screenshots: Chromium is missing; run deploy/setup tests")
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=CHROMIUM_SWITCHES)
        page = open_signed_in_page(browser, WIDE_VIEWPORT, "light")
        take_wide_screenshots(page)
        narrow = open_signed_in_page(browser, NARROW_VIEWPORT, "dark")
        narrow.wait_for_selector("#partitions tr:nth-child(2)")
        take_screenshot(narrow, "now-narrow")
        browser.close()


def open_signed_in_page(browser: Browser, size: ViewportSize, scheme: str) -> Page:
    """Open a page and sign in as an administrator."""
    context = browser.new_context(base_url=os.environ["CONSOLE_URL"], viewport=size, reduced_motion="reduce")
    page = context.new_page()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto("/sign-in")
    page.fill("#token", create_token([ADMIN, "--scope", "moderation.admin"]))
    page.click("button.main")
    return page


def take_wide_screenshots(page: Page) -> None:
    """Take the wide screenshots, reaching each page by its links."""
    page.wait_for_selector("#partitions tr:nth-child(2)")
    if not page.query_selector("#recent a[href^='/assignments/']"):
        sys.exit("deploy/screenshots: the stack has decided nothing yet; run deploy/demo first")
    take_screenshot(page, "now")
    page.click("#recent tr:has-text('publish provisional grades'):has-text('accepted') a[href^='/verdicts/']")
    take_screenshot(page, "command")
    page.goto("/failures")
    take_screenshot(page, "failures")
    page.click("main a[href^='/failures/dead-letters?reason=']")
    page.click("th a[href^='/failures/dead-letters/']")
    page.click("#dry-run")
    take_screenshot(page, "dead-letter")
    page.goto("/assignments")
    page.click("tr:has-text('Essay') th a >> nth=0")
    take_screenshot(page, "assignment", height=1_700)
    page.goto("/topics")
    page.click("#check")
    while page.query_selector("#check[disabled]"):
        page.reload()
    take_screenshot(page, "topics")


def take_screenshot(page: Page, name: str, height: int | None = None) -> None:
    """Save the viewport, or the page down to ``height``, with few colours."""
    clip = None if height is None else {"x": 0, "y": 0, "width": WIDE_VIEWPORT["width"], "height": height}
    screenshot = page.screenshot(full_page=height is not None, clip=clip)  # type: ignore[arg-type]
    picture = Image.open(io.BytesIO(screenshot)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    file = FOLDER / f"console-{name}.png"
    picture.save(file, optimize=True)
    print(f"{file.relative_to(ROOT)}: {file.stat().st_size // 1_024} KiB")


if __name__ == "__main__":
    main()
