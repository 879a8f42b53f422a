"""Locust as its users start it: chosen, started, watched, stopped and read in a real browser."""

import json
import os
import re
import signal
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener, urlopen

import pytest
from playwright.async_api import Page

from harness.load.schedule import planned_instants
from harness.results import open_run, read_samples
from harness.rig.ports import Ports
from harness.swarm.form import Offer, fields
from tests.live.browser import browsing
from tests.live.support import OWN_DRIVER, balanced, bench, bench_done, constant, marked, words
from tests.support import LIMIT_S, Run, until

pytestmark = pytest.mark.live

FIELDS = [re.sub("_(.)", lambda letter: letter[1].upper(), f.name) for f in fields(Offer())]
"""As Locust's page calls them."""
LONG = ["--duration", "600", "--rate", "100"]


def free_port() -> int:
    ports = Ports()
    try:
        return ports.take()
    finally:
        ports.close()


def rows_on_disk(folder: Path) -> int:
    """Operations of all trials."""
    return sum(len(read_samples(p)) for paths in open_run(folder).trials.values() for p in paths)


@contextmanager
def page_at(*words: str, mark: str = "", env: dict[str, str] | None = None) -> Iterator[Any]:
    """`bench.py locust`, and its address; interrupted at the end if it still goes on."""
    port = free_port()
    process = bench("locust", "--port", str(port), *words, mark=mark, env=env)
    try:
        assert process.stdout is not None
        if "--bind" not in words:
            said = process.stdout.readline()
            assert f"http://127.0.0.1:{port}" in said, said + process.communicate()[1]
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT_S)


def asked(url: str, form: Sequence[tuple[str, str]] | None = None, **headers: str) -> Any:
    data = None if form is None else urlencode(form).encode()
    with urlopen(Request(url, data, headers), timeout=LIMIT_S) as answer:
        return json.load(answer)


def counted(address: str) -> int:
    """What the page's total says."""
    total = asked(f"{address}/stats/requests")["stats"][-1]["num_requests"]
    assert isinstance(total, int)
    return total


def last_total(printed: str) -> int:
    """What Locust printed at its end; its last table ends with it."""
    return int([line for line in printed.splitlines() if "Aggregated" in line][-1].split()[-1])


async def until_counted(address: str) -> None:
    await until("figures are live", lambda: counted(address) > 0)


def test_a_run_from_the_form_to_the_report(run: Run, tmp_path: Path) -> None:
    """Issue 8: picks a style, starts, sees live figures, stops, downloads the report."""
    out = tmp_path / "run"

    async def drive(address: str) -> None:
        async with browsing() as browser:
            page = await browser.new_page(viewport={"width": 1280, "height": 1000})
            page.set_default_timeout(LIMIT_S * 1000)
            wrong: list[str] = []
            page.on("pageerror", lambda error: wrong.append(str(error)))
            await page.goto(address)
            await page.get_by_text("Custom parameters").click()
            named = "[name]:not([type=hidden])"
            asks = page.locator(f"form select{named}, form input{named}")
            names = await asks.evaluate_all("all => all.map(field => field.name)")
            assert names[-len(FIELDS) :] == FIELDS
            await page.locator("select[name=styles]").select_option(["rest-poll"])
            await page.locator("input[name=rate]").fill("often")
            await page.locator("input[name=repeats]").fill("0")
            await start(page)
            refused = await page.get_by_role("alert").filter(has_text="--rate").inner_text()
            assert "--repeats" in refused  # every mistake at once
            await page.locator("input[name=everyS]").fill("1")
            await start(page)
            await page.get_by_role("alert").filter(has_text="every_s: is of a burst").wait_for()
            await page.locator("input[name=everyS]").fill("")
            await page.locator("input[name=rate]").fill("100")
            await page.locator("input[name=repeats]").fill("1")
            await page.locator("select[name=items]").select_option("30")
            await page.locator("input[name=duration]").fill("600")
            await start(page)
            for milestone in ("place [acked]", "place [done]"):
                await page.get_by_role("cell", name=milestone).wait_for()
            first = await total(page)
            assert first > 0
            await page.wait_for_function(f"({TOTAL})() > {first}")
            assert await page.get_by_role("button", name="Reset").count() == 0
            charts = await browser.new_page()
            await charts.goto(f"{address}/live")
            await charts.locator("path.p99[d^=M]").first.wait_for(timeout=LIMIT_S * 1000)
            await page.get_by_role("button", name="Stop").click()
            await page.get_by_role("button", name="New").wait_for()
            assert await total(page) == rows_on_disk(out) == counted(address)
            for tab in ("Overhead", "Generator", "Ledger"):
                await page.get_by_role("tab", name=tab).click()
                await page.get_by_role("cell", name="1 rest-poll place").wait_for()
            await page.get_by_role("tab", name="Download Data").click()
            async with page.expect_download() as download:
                await page.get_by_text("Download orderbench's report").click()
            got = Path(await (await download.value).path())
            assert got.read_text() == (out / "report.html").read_text()
            assert wrong == []

    with page_at("--out", str(out)) as (process, address):
        run(drive(address))
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 0  # who stops a run by hand has got what they wanted
    found = open_run(out)
    assert found.info["status"] == "partial"
    (at,) = [int(e["detail"]) for e in found.events if e["kind"] == "trial_stopped"]
    (began,) = [int(e["detail"]) for e in found.events if e["kind"] == "trial_started"]
    planned = planned_instants(constant(100.0), 600.0, seed=1, block=0)
    assert rows_on_disk(out) == sum(planned < at - began)
    assert balanced(json.loads((out / "summary.json").read_text()))


TOTAL = "() => Number([...document.querySelectorAll('tr')].at(-1).children[2].textContent)"


async def total(page: Page) -> int:
    """The total of the table of statistics."""
    return int(await page.evaluate(TOTAL))


async def start(page: Page) -> None:
    await page.get_by_role("button", name="Start").click()


def test_a_headless_run_is_the_same_run(tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, _, err = bench_done(
        "locust", "--headless", "--styles", "rest,noop", "--rate", "100", "--duration", "1",
        "--out", str(out),
    )  # fmt: skip
    assert code == 0, err
    found = open_run(out)
    assert found.info["status"] == "complete"
    planned = 2 * (50 + 100)  # the warm-up too
    assert rows_on_disk(out) == planned
    assert last_total(err) == planned
    assert (out / "report.html").exists()


def test_a_shape_of_ones_own_is_the_load(tmp_path: Path) -> None:
    """Issue 8.3: with a pause, a spike, and an end that the duration sets."""
    out, mine = tmp_path / "run", tmp_path / "mine.py"
    mine.write_text(SPIKE)
    code, _, err = bench_done(
        "locust", "--headless", "--styles", "rest", "--shape", f"{mine}:Spike",
        "--duration", "4", "--out", str(out),
    )  # fmt: skip
    assert code == 0, err
    (cell,) = open_run(out).info["cells"]
    assert cell["load"]["rates"] == [0, 200, 0, 0]
    assert rows_on_disk(out) == last_total(err) == 200
    code, _, err = bench_done(
        "locust", "--headless", "--styles", "rest", "--shape", f"{mine}:Spike", "--load", "closed"
    )
    assert code == 2
    assert "--shape: it is the load, and --load says another: closed" in err


SPIKE = """
from locust import LoadTestShape

class Spike(LoadTestShape):
    def tick(self):
        return (200 if 1 <= self.get_run_time() < 2 else 0), 1
"""


def test_an_interrupt_drains_and_counts_exactly(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    mark = uuid.uuid4().hex
    with page_at(*LONG, "--out", str(out), mark=mark) as (process, address):
        started = asked(f"{address}/swarm", start_form(styles="rest", rate="100", duration="600"))
        assert started["success"], started
        run(until_counted(address))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 130
    rows = rows_on_disk(out)
    assert last_total(err) == rows > 0
    assert open_run(out).info["status"] == "partial"
    assert marked(mark) == []


def test_styles_together_are_a_run_each_and_stop_as_one(run: Run, tmp_path: Path) -> None:
    """Issue 8.2: all styles together if asked, drivers of one's own (issue 8.1) among them."""
    out, mine = tmp_path / "run", tmp_path / "mine.py"
    mine.write_text(OWN_DRIVER)
    own = f"{mine}:Mine"
    folders = {"sse": tmp_path / "run-sse-aiohttp", own: tmp_path / "run-mine-own"}

    async def drive(address: str) -> None:
        async with browsing() as browser:
            page = await browser.new_page(viewport={"width": 1280, "height": 1000})
            page.set_default_timeout(LIMIT_S * 1000)
            await page.goto(address)
            await page.get_by_text("Custom parameters").click()
            await page.locator("select[name=styles]").select_option(list(folders))
            await page.locator("select[name=turns]").select_option("together")
            await page.locator("input[name=rate]").fill("100")
            await page.locator("input[name=duration]").fill("600")
            await start(page)
            for style in ("sse", "mine"):
                row = page.get_by_role("row", name=f"{style} place [done]")
                await row.filter(has_text="place [done]").first.wait_for()
            await page.get_by_role("button", name="Stop").click()
            await page.get_by_role("button", name="New").wait_for()
            on_disk = sum(rows_on_disk(folder) for folder in folders.values())
            assert await total(page) == on_disk == counted(address)
            await page.get_by_role("tab", name="Ledger").click()
            for style in ("sse", "mine"):
                await page.get_by_role("cell", name=f"1 {style} place").wait_for()
            await page.goto(f"{address}/report")
            links = page.get_by_role("link", name="download")
            for at, folder in enumerate(folders.values()):
                async with page.expect_download() as download:
                    await links.nth(at).click()
                got = Path(await (await download.value).path())
                assert got.read_text() == (folder / "report.html").read_text()

    with page_at("--driver", own, "--out", str(out)) as (process, address):
        run(drive(address))
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 0
    assert open_run(folders["sse"]).info["beside"] == [own]
    assert open_run(folders[own]).info["beside"] == ["sse"]
    assert open_run(folders["sse"]).info["command"][:5] == [
        "python3", "bench.py", "run", "smoke", "--styles=sse",
    ]  # fmt: skip
    for_programs = ("--lines", "--beside")
    assert not any(w.startswith(for_programs) for w in open_run(folders[own]).info["command"])
    assert not out.exists()


def test_one_of_several_that_cannot_run_lets_none_begin(tmp_path: Path) -> None:
    """The driver has no service to talk to; the other style would."""
    mine = tmp_path / "mine.py"
    mine.write_text(OWN_DRIVER.replace('server = "rest"', "talks = True"))
    code, _, err = bench_done(
        "locust", "--headless", "--together", "--styles", f"rest,{mine}:Mine",
        "--driver", f"{mine}:Mine", "--out", str(tmp_path / "run"),
    )  # fmt: skip
    assert code == 2
    assert "--target mine=ADDRESS" in err
    assert list(tmp_path.iterdir()) == [mine]


def test_the_worst_of_several_is_the_exit_code(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(OWN_DRIVER)
    code, _, err = bench_done(
        "locust", "--headless", "--together", "--styles", f"rest,{mine}:Mine", "--rate", "50",
        "--driver", f"{mine}:Mine", "--target", "mine=http://127.0.0.1:1", "--duration", "1",
        "--out", str(tmp_path / "run"),
    )  # fmt: skip
    assert code == 1, err
    ended = {path.name: json.loads((path / "summary.json").read_text())["cells"][0]["verdict"]
             for path in tmp_path.iterdir() if path.is_dir()}  # fmt: skip
    assert ended["run-mine-own"]["status"] == "failed"
    assert ended["run-rest-aiohttp"]["status"] != "failed"


def start_form(**fields: str) -> list[tuple[str, str]]:
    return [("user_count", "0"), ("spawn_rate", "0"), ("scenario", "smoke"), *fields.items()]


def test_nothing_is_left_when_it_is_killed(run: Run, tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    with page_at(*LONG, "--out", str(tmp_path / "run"), mark=mark) as (process, address):
        assert asked(f"{address}/swarm", start_form(rate="100", duration="600"))["success"]
        run(until_counted(address))
        process.kill()
        process.communicate(timeout=LIMIT_S)
    run(until("all have ended", lambda: not marked(mark)))


def test_a_locust_that_is_killed_takes_its_run_with_it(run: Run, tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    with page_at(*LONG, "--out", str(tmp_path / "run"), mark=mark) as (process, address):
        assert asked(f"{address}/swarm", start_form(rate="100", duration="600"))["success"]
        run(until_counted(address))
        (locust,) = [pid for pid in marked(mark) if "-f" in words(pid)]
        os.kill(locust, signal.SIGKILL)
        process.communicate(timeout=LIMIT_S)
        assert process.returncode == 1
    assert marked(mark) == []


def test_what_cannot_be_run_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, _, err = bench_done(
        "locust", "--headless", "--styles", "rest", "--rate", "x", "--items", "0", "--out", str(out)
    )
    assert code == 2
    assert "--rate" in err
    assert "--items" in err
    assert not out.exists()


def test_only_its_own_pages_may_start_and_only_what_they_offer(tmp_path: Path) -> None:
    """Issue 8: wrong choices are refused by the server, not only by the form."""
    out = tmp_path / "run"
    evil = tmp_path / "evil.py"
    evil.write_text("class Evil: ...")
    with page_at("--out", str(out)) as (_, address):
        wrong = start_form(styles=f"{evil}:Evil", load="often")
        refused = asked(f"{address}/swarm", wrong)
        assert not refused["success"]
        assert "styles: " in refused["message"]
        assert "load: " in refused["message"]
        with pytest.raises(HTTPError) as kept:
            asked(f"{address}/stats/reset", [])
        assert kept.value.code == 403
        assert "the totals are those of what is on disk" in kept.value.read().decode()
        kept.value.close()
        for headers in ({"Origin": "http://elsewhere"}, {"Host": "elsewhere"}):
            with pytest.raises(HTTPError) as error:
                asked(f"{address}/swarm", start_form(styles="rest"), **headers)
            assert error.value.code == 403
            error.value.close()
    assert not out.exists()


def test_it_is_opened_to_others_only_by_name_and_password(run: Run) -> None:
    """Issue 8: --bind opens it with a user name and password."""
    code, _, err = bench_done("locust", "--bind", "0.0.0.0", "--port", str(free_port()))
    assert code == 2
    assert "ORDERBENCH_WEB_PASSWORD" in err
    env = {"ORDERBENCH_WEB_USER": "me", "ORDERBENCH_WEB_PASSWORD": "secret"}
    with page_at("--bind", "0.0.0.0", env=env) as (_, address):
        run(until_answers(address))
        for path in ("", "/stats/requests", "/report", "/live.json", "/logs"):
            with urlopen(address + path, timeout=LIMIT_S) as answer:
                assert answer.url.startswith(f"{address}/login"), path
        with urlopen(signed_in(address, "me", "wrong"), timeout=LIMIT_S) as answer:
            assert "/login" in answer.url
        opener = build_opener(HTTPCookieProcessor(CookieJar()))
        with opener.open(signed_in(address, "me", "secret"), timeout=LIMIT_S) as answer:
            assert "/login" not in answer.url
        with opener.open(f"{address}/stats/requests", timeout=LIMIT_S) as answer:
            assert json.load(answer)["state"] == "ready"


def signed_in(address: str, user: str, password: str) -> Request:
    return Request(
        f"{address}/sign-in", urlencode({"username": user, "password": password}).encode()
    )


async def until_answers(address: str) -> None:
    def answers() -> bool:
        try:
            urlopen(f"{address}/login", timeout=LIMIT_S).close()
        except OSError:
            return False
        return True

    await until("the page answers", answers)
