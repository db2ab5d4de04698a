# pyright: basic, reportMissingImports=false
# Playwright is in a group of its own.
"""The operator page in a browser, for the tests of the whole: headless Chromium, driven by Playwright."""

import asyncio
import importlib.util
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import pytest

if TYPE_CHECKING:
    from playwright.async_api import Browser, ConsoleMessage, Page

Theme: TypeAlias = Literal["light", "dark"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = Path(__file__).parent / "interop/node_modules/axe-core/axe.min.js"

FLAGS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",  # it is small in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

MILLISECONDS = 30_000
"""How long anything may take on a slow machine."""

_MISSING = [
    *(["there is no Chromium (make debian-packages)"] if CHROMIUM is None else []),
    *(["Playwright isn't installed (make page)"] if importlib.util.find_spec("playwright") is None else []),
]
needs_browser = pytest.mark.skipif(bool(_MISSING), reason="; ".join(_MISSING))
needs_axe = pytest.mark.skipif(not AXE.exists(), reason="axe-core isn't in tests/interop (make page, with Node)")


class Opened:
    """A page that is open, and what it complained of."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        self.complaints: list[str] = []
        """Errors and warnings of the console, exceptions, and dialogs that a script opened."""
        page.set_default_timeout(MILLISECONDS)
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))

    def _note(self, message: "ConsoleMessage") -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text}")

    async def tab_to(self, selector: str, most: int = 60) -> None:
        """Press Tab until an element has the focus."""
        for _ in range(most):
            await self.page.keyboard.press("Tab")
            if await self.page.evaluate("wanted => document.activeElement.matches(wanted)", selector):
                return
        raise AssertionError(f"Tab doesn't lead to {selector}")


@asynccontextmanager
async def chromium() -> AsyncGenerator["Browser", None]:
    """Run a browser for a while."""
    from playwright.async_api import async_playwright  # noqa: PLC0415  where it is installed

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def opened(
    browser: "Browser", url: str, *, theme: Theme = "light", width: int = 1280
) -> AsyncGenerator[Opened, None]:
    """Open an address in a window of its own, and wait until what is there is shown."""
    context = await browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    try:
        there = Opened(await context.new_page())
        await there.page.goto(url)
        await there.page.wait_for_selector("#live.on")
        await there.page.wait_for_selector("#summary a")
        yield there
    finally:
        await context.close()
        await asyncio.sleep(0)
