# pyright: basic, reportMissingImports=false
# Playwright is in a group of its own.
"""The operator page, as a person sees it: in a browser, over a real socket, on a real journal."""

import asyncio
from collections.abc import AsyncGenerator
from http import HTTPStatus
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from browsing import AXE, Theme, chromium, needs_axe, needs_browser, opened
from fbsessiond.clock import SystemClock
from fbsessiond.readiness import Check
from fbsessiond.testing import EPOCH
from journal_parts import after, append, draft, lease, prove, repeat, settle
from page_parts import CANARY, HANDLERS, TOKEN, served_page

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="module")]

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

LONG = "supervisor.of.the.night.shift@contact-centre.example.com" * 2
"""A name that is wider than a narrow window."""

OUTSIDE = """[...document.querySelectorAll("main :not(thead, thead *)")]
    .filter(one => one.getBoundingClientRect().right > innerWidth).map(one => one.outerHTML)"""
"""What a window is too narrow for; the heads of tables are there for readers of the screen alone."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncGenerator["Browser", None]:
    """Run a browser for all tests: it takes longer to start than most of them."""
    async with chromium() as running:
        yield running


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_shown(browser: "Browser", tmp_path: Path, theme: Theme, width: int) -> None:
    """All that the journal has is shown, as wide as the window is, without a complaint of the browser's."""
    async with (
        served_page(tmp_path, clock=SystemClock()) as there,
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


async def test_long_names(browser: "Browser", tmp_path: Path) -> None:
    """Nothing is cut off or makes a narrow window scroll sideways, however long a name is."""
    async with served_page(tmp_path, clock=SystemClock()) as there:
        await append(there.journal, draft(LONG, LONG, *HANDLERS), agent=LONG)
        async with opened(browser, f"{there.base}/#session={LONG}", width=360) as shown:
            await shown.page.wait_for_selector("#timeline svg")
            await shown.page.evaluate("document.getElementById('story').open = true")
            assert await shown.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert await shown.page.evaluate(OUTSIDE) == []
            assert shown.complaints == []


async def test_busy_session(browser: "Browser", tmp_path: Path) -> None:
    """Marks that would lie upon each other are one, with how many; so are handlers, and what is no transition."""
    async with served_page(tmp_path, clock=SystemClock()) as there:
        for number in range(40):
            await append(there.journal, draft("Busy", f"State{number % 3}", "crm", "log"), *[repeat("Busy")] * 2)
            for handler in ("crm", "log"):
                await settle(there.journal, *await lease(there.journal, handler))
        async with opened(browser, f"{there.base}/#session=Busy", width=360) as shown:
            page = shown.page
            await page.wait_for_selector("#timeline svg")
            assert await page.locator("#timeline .mark").count() == 2
            assert await page.locator("#timeline .many").all_text_contents() == ["40", "40"]
            await page.evaluate("document.getElementById('story').open = true")
            assert await page.locator("#entries > li", has_text="crm, log delivered").count() == 40
            assert await page.locator("#entries >> text=2 repeat").count() == 40
            assert await page.locator("#entries >> text=a gap: network, goes on").count() == 1
            assert shown.complaints == []


async def test_many_agents(browser: "Browser", tmp_path: Path) -> None:
    """Of a whole floor those in trouble stand first, and the others until somebody wants them are left out."""
    names = [f"Agent {number:02}" for number in range(30)]
    checks = [Check(f"connection {name}", name != "Agent 20", "as it is", EPOCH) for name in names]
    async with served_page(tmp_path, clock=SystemClock(), checks=checks, is_filled=False) as there:
        for name in names:
            await prove(there.journal, "one", 0, 10, agent=name)
            await there.journal.agree(name, after(10))
        async with opened(browser, there.base) as shown:
            page = shown.page
            assert await page.locator(".card").count() == 12
            assert await page.text_content(".card >> nth=0 >> h3") == "Agent 20"
            await page.click("#agents .all")
            assert await page.locator(".card").count() == 30
            assert await page.text_content("#summary a >> nth=0") == "29/30 connected"


async def test_empty(browser: "Browser", tmp_path: Path) -> None:
    """Where there is nothing yet, the page says so."""
    async with (
        served_page(tmp_path, clock=SystemClock(), is_filled=False) as there,
        opened(browser, there.base) as shown,
    ):
        for words in ("No agent", "Nothing was given up", "No session"):
            assert await shown.page.is_visible(f"text={words}")
        assert not await shown.page.is_visible("#sessions table")
        assert shown.complaints == []


async def test_live(browser: "Browser", tmp_path: Path) -> None:
    """What happens is on the page within a second."""
    async with (
        served_page(tmp_path, clock=SystemClock()) as there,
        opened(browser, there.base) as shown,
    ):
        loop = asyncio.get_running_loop()
        took: list[float] = []
        for number in range(5):
            began = loop.time()
            await append(there.journal, draft(f"Live{number}", "Chatting"))
            await shown.page.wait_for_selector(f"text=Live{number}")
            took.append(loop.time() - began)
        assert median(took) < 1, took


async def test_hostile_texts(browser: "Browser", tmp_path: Path) -> None:
    """Whatever a customer, a platform or a handler writes is text: nothing runs, nothing is asked of anybody else."""
    everything = " ".join(HOSTILE)
    asked: list[str] = []
    async with (
        served_page(tmp_path, clock=SystemClock(), canary=everything, state=everything) as there,
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


async def test_retry(browser: "Browser", tmp_path: Path) -> None:
    """By keyboard alone a person signs in, and has a dead letter tried again."""
    async with (
        served_page(tmp_path, clock=SystemClock()) as there,
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


async def test_drop(browser: "Browser", tmp_path: Path) -> None:
    """A dead letter is dropped with a reason; Escape leaves everything as it was."""
    async with (
        served_page(tmp_path, clock=SystemClock()) as there,
        opened(browser, there.base) as shown,
    ):
        page = shown.page
        await signed_in(page)
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
        await page.goto(f"{there.base}#session=S2")
        told = "text=AddComment withdrawn, 2 attempts, dropped by somebody at 127.0.0.1, on the page"
        await page.wait_for_selector(f"#entries >> {told}", state="attached")


async def test_other_origin(browser: "Browser", tmp_path: Path) -> None:
    """What another page has the browser send changes nothing, though its cookie goes along."""
    for name in ("there", "other"):
        (tmp_path / name).mkdir()
    async with (
        served_page(tmp_path / "there", clock=SystemClock()) as there,
        served_page(tmp_path / "other", clock=SystemClock()) as other,
        await browser.new_context(bypass_csp=True) as context,
    ):
        page = await context.new_page()
        await page.goto(there.base)
        await signed_in(page)
        await page.goto(other.base)
        async with page.expect_navigation() as left:
            await page.evaluate(SUBMIT, f"{there.base}/api/dead-letters/retry")
        response = await left.value
        assert response is not None
        assert "fbsessiond" in (await response.request.all_headers()).get("cookie", "")
        assert response.status == HTTPStatus.FORBIDDEN
        assert "2/crm" in [one.id for one in there.reader.dead()]


SUBMIT = """url => {
    const form = document.createElement("form");
    Object.assign(form, {method: "post", action: url, enctype: "text/plain"});
    const input = document.createElement("input");
    Object.assign(input, {name: '{"delivery": "2/crm", "x', value: '": ""}'});
    form.append(input);
    document.body.append(form);
    form.submit();
}"""
"""The oldest way to have a browser send JSON somewhere else."""


async def test_keyboard(browser: "Browser", tmp_path: Path) -> None:
    """The keyboard leads everywhere, the focus can be seen, and it comes back to where it was."""
    async with (
        served_page(tmp_path, clock=SystemClock()) as there,
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


async def test_focus_stays(browser: "Browser", tmp_path: Path) -> None:
    """What changes on the page leaves the focus where it is."""
    async with (
        served_page(tmp_path, clock=SystemClock()) as there,
        opened(browser, there.base) as shown,
    ):
        page = shown.page
        await page.focus("text=S1 >> nth=-1")
        focused = await page.evaluate("document.activeElement.textContent")
        await append(there.journal, draft("Newest", "Chatting"))
        await page.wait_for_selector("text=Newest")
        assert await page.evaluate("document.activeElement.textContent") == focused == "S1"


async def test_beyond(browser: "Browser", tmp_path: Path) -> None:
    """From beyond this machine the page asks for the token at once, and then shows everything."""
    async with served_page(tmp_path, "0.0.0.0:0", clock=SystemClock()) as there:
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(there.base.replace("0.0.0.0", "127.0.0.1"))  # noqa: S104  the same
        await page.wait_for_selector("#sign-in-dialog[open]", timeout=4_000)
        assert "S1" not in await page.inner_text("body")
        await page.fill("#token", TOKEN)
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#sessions tbody >> text=S1")
        await page.wait_for_selector("#live.on", timeout=4_000)
        await context.close()


@needs_axe
@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_accessible(browser: "Browser", tmp_path: Path, theme: Theme, width: int) -> None:
    """A checker of accessibility finds nothing serious in any view: everything, a session, the dialogs."""
    async with (
        served_page(tmp_path, clock=SystemClock()) as there,
        opened(browser, there.base, theme=theme, width=width) as shown,
    ):
        page = shown.page
        await page.evaluate(AXE.read_text())
        assert await _violations(page) == []
        await page.click("#sign-in")
        assert await _violations(page) == []
        await page.keyboard.press("Escape")
        await signed_in(page)
        await page.click("text=S2 >> nth=-1")
        await page.wait_for_selector("#timeline svg")
        await page.evaluate("document.getElementById('story').open = true")
        assert await _violations(page) == []
        await page.click("[aria-label='Drop 2/crm']")
        assert await _violations(page) == []


@needs_axe
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_accessible_when_empty(browser: "Browser", tmp_path: Path, theme: Theme) -> None:
    """The same holds where there is nothing yet."""
    async with (
        served_page(tmp_path, clock=SystemClock(), is_filled=False) as there,
        opened(browser, there.base, theme=theme) as shown,
    ):
        await shown.page.evaluate(AXE.read_text())
        assert await _violations(shown.page) == []


async def signed_in(page: "Page") -> None:
    """Sign in with the token."""
    await page.click("#sign-in")
    await page.fill("#token", TOKEN)
    await page.keyboard.press("Enter")
    await page.wait_for_selector("[aria-label='Retry 2/crm']:enabled")


async def _violations(page: Any) -> list[str]:
    found = await page.evaluate("axe.run().then(result => result.violations)")
    return [
        f"{one['id']} ({one['impact']}): {[node['html'] for node in one['nodes']]}"
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]
