"""The report's page in a real browser, and before an HTML checker (issue 7.5)."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Dialog, Locator, Page, expect

from clients import catalog
from harness.analysis.summary import Summary
from harness.analysis.verdicts import Code, Reason
from harness.report.charts.every import make_charts
from harness.report.page import render_page
from tests.live.browser import browsing
from tests.live.html_checker import complaints
from tests.support import Run
from tests.unit import capacity_summaries, message_summaries, summaries, test_overhead_report
from tests.unit.summaries import CLOSED, HOSTILE, OPEN, cell
from tests.unit.test_stack import shown as a_stack

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()
WIDE, NARROW = 1440, 390
A4_ACROSS = 1047
"""What is between the margins of A4 landscape, in CSS pixels."""
CELLS = "table[data-filter=cells]"
LOADS = ("200/s · open loop", "1000/s · open loop")
P99 = 5
FILTERED = {
    "rest": ["rest"],
    "200/s": ["zeromq", "websocket", "rest", "sse", "grpc-stream"],
    "Qualified 200": ["zeromq", "rest"],
    "skipped": ["websocket"],
    "nothing at all": [],
    "1000 hook": ["webhook"],
}
"""What is typed, and the styles that are left."""
PARTS = (
    *("findings", "floors", "capacity-table", "messages", "cells", "steps-table", "stack-table"),
    *("overhead", "wire", "verdicts", "words", "scenario", "again"),
)
CONTRAST = """() => {
    const luminance = (colour) => {
        const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
        const linear = parts.map((p) => p <= 0.03928 ? p / 12.92 : ((p + 0.055) / 1.055) ** 2.4);
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const paper = luminance(getComputedStyle(document.body).backgroundColor);
    const texts = [...document.querySelectorAll("svg text")];
    return texts.map((text) => {
        const ink = luminance(getComputedStyle(text).fill);
        return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    });
}"""
"""Of each text in a chart, as WCAG 2 defines it."""


def costly() -> Summary:
    """With all that is known of what an operation costs, and its price."""
    costs = replace(test_overhead_report.COSTS, cost_per_million=test_overhead_report.PAID)
    return test_overhead_report.made(costs, test_overhead_report.PRICE)


def large() -> Summary:
    """Every style at three loads, five trials each, one variant against itself: what people run."""
    loads = (*OPEN, CLOSED)
    styles = [style for style in catalog.styles() if style in summaries.SERVER_US]
    made = [
        cell(
            style,
            load,
            [Reason(Code.SHARED_CORE, "they share a processor")] if load is CLOSED else (),
            summaries.repeated(style, load, 1 + place / 4),
        )
        for place, style in enumerate(styles)
        for load in loads
    ]
    first = made[0]
    again = cell(
        f"{styles[0]}=again",
        loads[0],
        (),
        summaries.repeated("again", loads[0]),
        again=first.info["id"],
    )
    costs = test_overhead_report.COSTS
    return summaries.summary([replace(c, overhead=costs) for c in (*made, again)])


def gaps() -> Summary:
    """Two loads; at the first figures, a bound, one that is not resolvable, and none at all."""
    few = [Reason(Code.UNDER_SAMPLED, "p99 is not resolvable from 100 operations")]
    late = [Reason(Code.OVERLOADED, "90 operations were dropped, 30 timed out")]
    numbers = (1, 2, 3)
    hundred = [summaries.trial("zeromq", OPEN[0], n, 100) for n in numbers]
    lost = [summaries.trial("rest", OPEN[0], n, dropped=90, timed_out=30) for n in numbers]
    return summaries.summary(
        [
            cell("zeromq", OPEN[0], few, hundred),
            summaries.not_run("websocket", OPEN[0]),
            cell("rest", OPEN[0], late, lost),
            cell("sse", OPEN[0]),
            cell("grpc-stream", OPEN[0]),
            cell("webhook", OPEN[1]),
            cell("grpc-unary", OPEN[1]),
        ]
    )


MADE: dict[str, summaries.Make] = {
    **{make.__name__: make for make in (*summaries.ALL, *message_summaries.ALL)},
    "capacity": capacity_summaries.every_ending,
    "stack": a_stack,
    "costly": costly,
    "large": large,
    "gaps": gaps,
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of each made-up run, as a file."""
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for name, make in MADE.items():
        found[name] = folder / f"{name}.html"
        summary = make()
        found[name].write_text(render_page(summary, make_charts(summary)))
    return found


@pytest.fixture(scope="module")
def browser(runner: asyncio.Runner) -> Iterator[Browser]:
    """One for all tests here."""
    stack = AsyncExitStack()
    yield runner.run(stack.enter_async_context(browsing()))
    runner.run(stack.aclose())


@asynccontextmanager
async def opened(
    browser: Browser, file: Path, anchor: str = "", width: int = WIDE, **options: Any
) -> AsyncIterator[Page]:
    """A page in a window of its own; fails if it asks for anything but itself, if a script of it
    fails, or if it opens a dialog."""
    context = await browser.new_context(viewport={"width": width, "height": 900}, **options)
    page = await context.new_page()
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))

    async def dismiss(dialog: Dialog) -> None:
        errors.append(dialog.message)
        await dialog.dismiss()

    page.on("dialog", dismiss)
    await page.goto(file.as_uri() + anchor)
    yield page
    await context.close()
    assert errors == []
    assert {url.partition("#")[0] for url in asked} == {file.as_uri()}


def test_every_part_of_a_page_is_seen_here(pages: dict[str, Path]) -> None:
    text = "".join(file.read_text() for file in pages.values())
    assert [part for part in PARTS if f'id="{part}"' not in text] == []


def test_pages_are_valid(pages: dict[str, Path]) -> None:
    assert complaints(list(pages.values())) == []


def test_a_page_is_small(pages: dict[str, Path]) -> None:
    assert max(file.stat().st_size for file in pages.values()) < 5_000_000


@pytest.mark.parametrize(
    ("width", "scheme", "names"),
    [
        (WIDE, "light", MADE),
        (NARROW, "dark", MADE),
        # Width decides about layout and scheme about colours alone: every page need not be seen.
        (WIDE, "dark", ["large"]),
        (NARROW, "light", ["large"]),
    ],
    ids=["wide-light", "narrow-dark", "wide-dark", "narrow-light"],
)
def test_pages_are_accessible(
    run: Run,
    browser: Browser,
    pages: dict[str, Path],
    width: int,
    scheme: Any,
    names: Iterable[str],
) -> None:
    async def check(name: str) -> list[str]:
        async with opened(browser, pages[name], width=width, color_scheme=scheme) as page:
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            # What axe does not look into.
            assert min(await page.evaluate(CONTRAST), default=21) >= 4.5
            return await violations(page)

    assert {name: found for name in names if (found := run(check(name)))} == {}


async def violations(page: Page) -> list[str]:
    """What axe finds, of whatever impact."""
    await page.evaluate(AXE)
    said = await page.evaluate("axe.run({resultTypes: ['violations']})")
    assert said["passes"]
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:200]}"
        for each in said["violations"]
        for node in each["nodes"]
    ]


def test_a_fault_would_be_found(run: Run, browser: Browser, pages: dict[str, Path]) -> None:
    """The checks above are awake: a field without a name, pale words, pale words in charts."""
    pale = "td, svg text { color: #ccc !important; fill: #ccc !important; }"

    async def spoilt() -> tuple[list[str], float]:
        async with opened(browser, pages["one_cell"]) as page:
            await page.add_style_tag(content=pale)
            await page.evaluate("document.body.append(document.createElement('input'))")
            return await violations(page), min(await page.evaluate(CONTRAST))

    found, least = run(spoilt())
    assert {each.partition(" ")[0] for each in found} >= {"color-contrast", "label"}
    assert least < 2


def test_a_wrong_page_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<!DOCTYPE html><html lang=en><title>t</title><p id=a><p id=a><h1>b")
    assert [each for each in complaints([page]) if "Duplicate ID" in each]


def head(page: Page, name: str) -> Locator:
    """The button at the head of a column of the table of every cell."""
    return page.locator(f"{CELLS} thead tr:last-child button", has_text=name).first


async def column(page: Page, at: int = 0) -> list[str]:
    """What the rows that are shown say in a column; of a heading, its text."""
    rows = page.locator(f"{CELLS} tbody tr:visible")
    said: list[str] = await rows.evaluate_all(
        "(rows, at) => rows.map((row) => (row.cells[at] ?? row.cells[0]).innerText.trim())", at
    )
    return said


def test_a_table_is_sorted_within_its_loads(
    run: Run, browser: Browser, pages: dict[str, Path]
) -> None:
    """By a head, reached and pressed on the keyboard: upwards, downwards, as it was. Numbers come
    before bounds; what has no number is last both ways."""

    async def sort() -> None:
        async with opened(browser, pages["gaps"]) as page:
            before = await column(page)
            assert [before.index(each) for each in LOADS] == [0, 6]
            await head(page, "99 %").focus()
            for order in ("ascending", "descending", None):
                await page.keyboard.press("Enter")
                told = await page.locator(f"{CELLS} th[aria-sort]").evaluate_all(
                    "heads => heads.map((head) => [head.innerText.trim()[0], head.ariaSort])"
                )
                assert told == ([["9", order]] if order else [])
                said = await column(page, P99)
                assert [said.index(each) for each in LOADS] == [0, 6]
                figures, others = said[1:6], said[7:]
                if order:
                    numbers = [float(each) for each in (*figures[:3], *others) if each[0] != ">"]
                    down = order == "descending"
                    assert figures.index("> 2 s") == (0 if down else 2)
                    assert sorted(figures[3:]) == ["n/r", "–"]
                    for part in (numbers[:2], numbers[2:]):
                        assert len(set(part)) == 2
                        assert part == sorted(part, reverse=down)
            assert await column(page) == before
            await head(page, "style").click()
            names = [each for each in await column(page) if each not in LOADS]
            assert names == [*sorted(names[:5]), *sorted(names[5:])]

    run(sort())


def test_a_table_without_headings_is_sorted_as_a_whole(
    run: Run, browser: Browser, pages: dict[str, Path]
) -> None:
    """Roles of cells, each named on its own line: all by one column, then by another."""

    async def sort() -> None:
        async with opened(browser, pages["large"]) as page:
            table = page.locator("section:has(#overhead) table").first
            for name in ("style", "who"):
                await table.locator("thead button", has_text=name).click()
            rows = [text.split("\t") for text in await table.locator("tbody tr").all_inner_texts()]
            named = [(who, name) for name, _, who, *_ in rows]
            assert len(named) == 3 * len(large().once.cells)
            assert named == sorted(named)

    run(sort())


def test_a_filter_hides_rows_and_says_so(
    run: Run, browser: Browser, pages: dict[str, Path]
) -> None:
    """Every word must be in a row's style, load or verdict; headings without rows go too; what is
    printed says what is missing."""

    async def search() -> None:
        async with opened(browser, pages["gaps"]) as page:
            field = page.get_by_label("Only cells with")
            told = page.locator(".filter [aria-live]")
            assert await told.inner_text() == ""
            for typed, shown in FILTERED.items():
                await field.fill(typed)
                names = [each for each in await column(page) if each not in LOADS]
                assert [each.partition(":")[0] for each in names] == shown
                assert (await told.inner_text()).startswith(f"{len(shown)} of 7 cells shown")
            assert [each for each in await column(page) if each in LOADS] == [LOADS[1]]
            await page.emulate_media(media="print")
            assert await told.is_visible()
            assert [each for each in await column(page) if each in LOADS] == [LOADS[1]]
            await page.emulate_media(media="screen")
            await field.fill("")
            assert await told.inner_text() == ""
            assert len(await column(page)) == 7 + 2

    run(search())


def test_a_link_to_a_cell_shows_it(run: Run, browser: Browser, pages: dict[str, Path]) -> None:
    """From the list of verdicts, even to one that the filter hides; and by its address."""
    cells = gaps().cells

    async def follow() -> None:
        async with opened(browser, pages["gaps"]) as page:
            await page.get_by_label("Only cells with").fill("webhook")
            row = page.locator(f"[id='{cells[0].info['id']}']")
            assert not await row.is_visible()
            await page.locator(f"[id='why.{cells[0].info['id']}']").click()
            await expect(row).to_be_in_viewport()
            assert len(await column(page)) == 7 + 2
        last = cells[-1].info["id"]
        async with opened(browser, pages["gaps"], f"#{last}") as page:
            row = page.locator(f"[id='{last}']")
            await expect(row).to_be_in_viewport()
            mark = "(row) => getComputedStyle(row.cells[1]).boxShadow"
            assert await row.evaluate(mark) != "none"
            assert await page.locator(f"[id='{cells[0].info['id']}']").evaluate(mark) == "none"
            own = row.locator("th a")
            await own.click()
            assert page.url.endswith(f"#{last}")

    run(follow())


def test_a_page_is_whole_without_scripts(
    run: Run, browser: Browser, pages: dict[str, Path]
) -> None:
    async def look() -> None:
        async with opened(browser, pages["gaps"], java_script_enabled=False) as page:
            assert await page.locator("button, input").count() == 0
            assert await page.locator(f"{CELLS} tbody tr").count() == 7 + 2

    run(look())


def test_what_users_wrote_does_nothing(run: Run, browser: Browser, pages: dict[str, Path]) -> None:
    """A run, a question, a load, a variant and a failure named as a script: each is shown, and none
    is run, whatever the reader does with the table."""

    async def visit() -> None:
        for name in ("hostile", "hostile_parts"):
            async with opened(browser, pages[name]) as page:
                await head(page, "style").click()
                await page.get_by_label("Only cells with").fill(HOSTILE)
                assert HOSTILE in await page.locator(".filter [aria-live]").inner_text()
                assert HOSTILE in await page.locator("body").inner_text()
                assert await page.evaluate("document.scripts.length") == 1
                assert await page.locator("[onload], [onerror], [onclick]").count() == 0

    run(visit())


def test_paper_is_light_and_nothing_is_cut_off(
    run: Run, browser: Browser, pages: dict[str, Path]
) -> None:
    """As printed on A4, also by a reader who prefers it dark."""

    async def look(name: str) -> None:
        file = pages[name]
        async with opened(browser, file, width=A4_ACROSS, color_scheme="dark") as page:
            await page.emulate_media(media="print")
            paper = "getComputedStyle(document.body).backgroundColor"
            assert await page.evaluate(paper) == "rgb(255, 255, 255)"
            assert not await page.locator("nav").is_visible()
            # A box of its own would be missing in the heads of a table's further pages.
            box = "(head) => getComputedStyle(head).display"
            assert await head(page, "style").evaluate(box) == "contents"
            tables = page.locator("table")
            widths = await tables.evaluate_all("all => all.map((each) => each.offsetWidth)")
            assert max(widths) <= A4_ACROSS, name

    for name in pages:
        run(look(name))
