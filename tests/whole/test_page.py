# pyright: basic, reportMissingImports=false
# Playwright is in a group of its own.
"""The operator page, as a person sees it: in a browser, over a real socket, on a real journal."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from browsing import AXE, Theme, chromium, needs_axe, needs_browser, opened
from fbsessiond.clock import SystemClock
from journal_parts import append, draft
from page_parts import CANARY, TOKEN, served_page

pytestmark = needs_browser

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "</title></textarea></style><iframe srcdoc='<script>parent.alert(1)</script>'>",
    "javascript:alert(1)//&#106;avascript:alert(1)",
    '" onfocus=alert(1) autofocus tabindex=1 x="',
    "' onmouseover='alert(1)' style='position:fixed;inset:0",
    "{{constructor.constructor('alert(1)')()}}${alert(1)}",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<a href=data:text/html,<script>alert(1)</script> ping=//evil.example>x</a>",
    "\u202e\u2066\x00\x1b[31m]]>--><!DOCTYPE x>\n%3Cscript%3E",
    "__proto__",
)
"""What breaks out of pages that are put together from texts."""


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_shown(tmp_path: Path, theme: Theme, width: int) -> None:
    """All that the journal has is shown, as wide as the window is, without a complaint of the browser's."""
    async with (
        served_page(tmp_path, clock=SystemClock()) as there,
        chromium() as browser,
        opened(browser, f"{there.base}/#session=S2", theme=theme, width=width) as shown,
    ):
        page = shown.page
        await page.wait_for_selector("#timeline svg .mark.stuck")
        text = await page.inner_text("body")
        for words in ("agent1", "network", "S1", "S3", "LeftChat", "2/crm", "3/wrap-up/1", "LookupError at crm.py:8"):
            assert words in text
        assert CANARY not in text
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert await page.locator("#timeline .bar").count() == 1
        assert shown.complaints == []


async def test_live(tmp_path: Path) -> None:
    """What happens is on the page within a second."""
    async with (
        served_page(tmp_path, clock=SystemClock()) as there,
        chromium() as browser,
        opened(browser, there.base) as shown,
    ):
        loop = asyncio.get_running_loop()
        took: list[float] = []
        for number in range(3):
            await asyncio.sleep(0.5)
            began = loop.time()
            await append(there.journal, draft(f"Live{number}", "Chatting"))
            await shown.page.wait_for_selector(f"text=Live{number}")
            took.append(loop.time() - began)
        assert min(took) < 1, took


async def test_hostile_texts(tmp_path: Path) -> None:
    """Whatever a customer, a platform or a handler writes is text: nothing runs, nothing is asked of anybody else."""
    everything = " ".join(HOSTILE)
    asked: list[str] = []
    async with (
        served_page(tmp_path, clock=SystemClock(), canary=everything, state=everything) as there,
        chromium() as browser,
    ):
        for hostile in HOSTILE:
            await append(there.journal, draft(hostile, hostile, "crm", comment=everything), agent=hostile)
        async with opened(browser, there.base) as shown:
            page = shown.page
            page.on("request", lambda request: asked.append(request.url))
            assert await page.locator("#sessions tbody tr").count() == len(HOSTILE) + 3
            for number, hostile in enumerate(reversed(HOSTILE)):
                await page.locator("#sessions tbody a").nth(number).click()
                heading = "wanted => document.getElementById('session-heading').textContent === wanted"
                await page.wait_for_function(heading, arg=f"Session {hostile}")
                await page.wait_for_selector("#timeline svg")
            await page.evaluate("document.getElementById('story').open = true")
            for place in ("#sessions tbody tr", "#timeline .bar", ".card"):
                await page.locator(place).last.hover(force=True)
            assert await page.locator("script, iframe, [onerror], [onload], [onfocus], [style]").count() == 1
            assert shown.complaints == []
        assert [url for url in asked if not url.startswith(there.base)] == []


async def test_retry(tmp_path: Path) -> None:
    """By keyboard alone a person signs in, and has a dead letter tried again."""
    async with (
        served_page(tmp_path, clock=SystemClock()) as there,
        chromium() as browser,
        opened(browser, there.base) as shown,
    ):
        page = shown.page
        retry = page.get_by_role("button", name="Retry 2/crm")
        assert await retry.is_disabled()
        await shown.tab_to("#sign-in")
        await page.keyboard.press("Enter")
        await page.keyboard.type("not the token at all")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("text=that isn't the token")
        shown.complaints.clear()  # the browser tells the 401
        await page.keyboard.press("Control+A")
        await page.keyboard.type(TOKEN)
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#sign-in", state="hidden")
        await page.wait_for_selector("[aria-label='Retry 2/crm']:enabled")
        await shown.tab_to("[aria-label='Retry 2/crm']")
        await page.keyboard.press("Enter")
        await retry.wait_for(state="detached")
        await page.wait_for_selector("text=2/crm is tried again.")
        assert await page.evaluate("document.activeElement.id") == "dead-heading"
        assert [one.id for one in there.reader.dead()] == []
        assert shown.complaints == []


async def test_drop(tmp_path: Path) -> None:
    """A dead letter is dropped with a reason; Escape leaves everything as it was."""
    async with (
        served_page(tmp_path, clock=SystemClock()) as there,
        chromium() as browser,
        opened(browser, there.base) as shown,
    ):
        page = shown.page
        await page.click("#sign-in")
        await page.fill("#token", TOKEN)
        await page.keyboard.press("Enter")
        drop = page.get_by_role("button", name="Drop 3/wrap-up/1")
        await page.wait_for_selector("[aria-label='Drop 3/wrap-up/1']:enabled")
        await drop.click()
        await page.keyboard.press("Escape")
        await drop.click()
        await page.fill("#reason", "done by hand")
        await page.keyboard.press("Enter")
        await drop.wait_for(state="detached")
        (first, _) = there.reader.follow_ups()
        assert first.progress.because == "dropped: done by hand"
        assert [one.id for one in there.reader.dead()] == ["2/crm"]


async def test_keyboard(tmp_path: Path) -> None:
    """The keyboard leads everywhere, the focus can be seen, and it comes back to where it was."""
    async with (
        served_page(tmp_path, clock=SystemClock()) as there,
        chromium() as browser,
        opened(browser, there.base) as shown,
    ):
        page = shown.page
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "To the sessions"
        await page.keyboard.press("Enter")
        await shown.tab_to("#sessions tbody a")
        chosen = await page.evaluate("document.activeElement.textContent")
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert await page.evaluate(outline) == "solid"
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#timeline svg")
        await page.wait_for_function("document.activeElement.id === 'session-heading'")
        assert await page.inner_text("#session-heading") == f"Session {chosen}"
        await shown.tab_to("#close")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#session", state="hidden")
        assert await page.evaluate("document.activeElement.textContent") == chosen


async def test_focus_stays(tmp_path: Path) -> None:
    """What changes on the page leaves the focus where it is."""
    async with (
        served_page(tmp_path, clock=SystemClock()) as there,
        chromium() as browser,
        opened(browser, there.base) as shown,
    ):
        page = shown.page
        await page.focus("text=S1 >> nth=-1")
        focused = await page.evaluate("document.activeElement.textContent")
        await append(there.journal, draft("Newest", "Chatting"))
        await page.wait_for_selector("text=Newest")
        assert await page.evaluate("document.activeElement.textContent") == focused == "S1"


async def test_beyond(tmp_path: Path) -> None:
    """From beyond this machine the page asks for the token, and then shows everything."""
    async with served_page(tmp_path, "0.0.0.0:0", clock=SystemClock()) as there, chromium() as browser:
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(there.base.replace("0.0.0.0", "127.0.0.1"))  # noqa: S104  the same
        await page.wait_for_selector("#sign-in-dialog[open]")
        assert "S1" not in await page.inner_text("body")
        await page.fill("#token", TOKEN)
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#sessions tbody >> text=S1")
        await page.wait_for_selector("#live.on")
        await context.close()


@needs_axe
@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_accessible(tmp_path: Path, theme: Theme, width: int) -> None:
    """A checker of accessibility finds nothing serious, with a session open, or a dialog."""
    async with (
        served_page(tmp_path, clock=SystemClock()) as there,
        chromium() as browser,
        opened(browser, f"{there.base}/#session=S2", theme=theme, width=width) as shown,
    ):
        page = shown.page
        await page.wait_for_selector("#timeline svg")
        await page.evaluate("document.getElementById('story').open = true")
        await page.evaluate(AXE.read_text())
        assert await _violations(page) == []
        await page.click("#sign-in")
        assert await _violations(page) == []


async def _violations(page: Any) -> list[str]:
    found = await page.evaluate("axe.run().then(result => result.violations)")
    return [
        f"{one['id']} ({one['impact']}): {[node['html'] for node in one['nodes']]}"
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]
