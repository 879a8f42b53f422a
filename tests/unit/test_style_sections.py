"""Issue 7.4: each style of a run has what it is, how it was set up, an exchange, figures and what
speaks against them."""

import json
import re
from dataclasses import replace

import pytest

from clients import catalog
from harness.analysis.verdicts import RULES, Code, Reason
from harness.condition import BrokerWay
from harness.report.styles.sections import FIGURES, StyleSection, style_sections
from harness.report.styles.texts import ABOUT, OWN
from harness.report.styles.wire_examples import FOLDER, wire_example
from harness.report.verdict_list import cell_names
from tests.unit import message_summaries, summaries
from tests.unit.test_page import ALL, page_of, text_of

KAFKA_UNSAFE = replace(summaries.USUAL, broker=BrokerWay(safe=False, linger_ms=5.0))


def section_of(style: str, *cells: object, **info: object) -> StyleSection:
    made = summaries.summary(cells, **info)  # type: ignore[arg-type]
    (found,) = (each for each in style_sections(made) if each.style == style)
    return found


@pytest.mark.parametrize("make", ALL)
def test_each_style_of_a_run_has_a_section_with_its_cells(make: summaries.Make) -> None:
    made = make()
    page = page_of(make)
    sections = {each.style: each for each in style_sections(made)}
    named = cell_names(made.once)
    assert list(sections) == list(dict.fromkeys(c.info["style"] for c in made.once.cells))
    for style, section in sections.items():
        assert f"style.{style}" in page.all("id")
        assert section.text in page.text
        own = [cell for cell in made.once.cells if cell.info["style"] == style]
        assert [row.id for row in section.rows] == [cell.info["id"] for cell in own]
        for row, cell in zip(section.rows, own, strict=True):
            assert row.id in page.rows
            assert row.name == named[row.id]
            assert row.status == cell.verdict.status.value
            assert len(row.figures) == len(FIGURES)
            assert (row.why is None) == (row.status == "valid")
            assert row.why is None or row.why in page.all("id")
        for against in section.against:
            assert against.why in page.all("id")


def test_figures_are_the_cells_own() -> None:
    made = summaries.asynchronous()
    cell = made.cells[1]
    section = next(each for each in style_sections(made) if each.style == "rest-poll")
    said = dict(zip(FIGURES, section.rows[0].figures, strict=True))
    assert said["p50, ms"] == f"{cell.latency.p50:.2f}"
    assert said["server"] == "290"
    assert said["broker"] == "–"
    assert (said["bytes: there"], said["back"]) == ("900", "1,800")
    assert said["connections opened"] == "4"


def test_settings_are_said_once_and_where_cells_differ_all_of_them() -> None:
    made = summaries.asynchronous()
    section = next(each for each in style_sections(made) if each.style == "rest-poll")
    settings = dict(section.settings)
    assert settings["polls"] == "every 20 ms; long, of at most 2000 ms"
    assert settings["client library"] == "aiohttp 3.14.5"
    assert settings["server library"] == "fastapi"
    assert settings["codec"] == "JSON"
    assert settings["connections"] == "4 at the start"
    assert (settings["TLS"], settings["compression"]) == ("off", "off")
    assert "partitions, or queues" not in settings


def test_connections_of_a_lane_and_what_a_scenario_changed_are_said() -> None:
    wire = replace(summaries.USUAL, codec="protobuf", tls=True, kept=False)
    settings = dict(
        section_of("sse", summaries.cell("sse", summaries.OPEN[0], condition=wire)).settings
    )
    assert settings["codec"] == "protobuf"
    assert settings["TLS"] == "on"
    assert settings["a connection"] == "new for each order"
    made = summaries.summary([summaries.cell("sse", summaries.OPEN[0])])
    assert made.cells[0].info["connections_a_lane"] == 2
    assert dict(style_sections(made)[0].settings)["connections"] == "4 at the start, each of 2"


def test_many_values_are_counted() -> None:
    loads = [replace(summaries.OPEN[0], rate=float(rate)) for rate in range(1, 10)]
    section = section_of("rest", *(summaries.cell("rest", load) for load in loads))
    assert dict(section.settings)["load"] == "1/s; 2/s; 3/s; 4/s; 5/s; 6/s; 3 more"


def test_a_brokers_producer_is_shown_as_it_was_given() -> None:
    """Not as the scenario says: `safe` is what the library is told."""
    usual = replace(summaries.USUAL, broker=BrokerWay())
    cells = [
        summaries.cell("kafka", summaries.OPEN[0], condition=condition)
        for condition in (usual, KAFKA_UNSAFE)
    ]
    section = section_of(
        "kafka",
        *cells,
        parts={"kafka": {"version": "4.3.1", "origin": "cache", "settings": {"nodes": 1}}},
    )
    safe, unsafe = (dict(pairs) for _, pairs in section.given)
    assert [title for title, _ in section.given] == ["aiokafka, class B", "aiokafka, class B (2)"]
    assert (safe["acks"], safe["enable_idempotence"], safe["linger_ms"]) == ("all", "yes", "0")
    assert (unsafe["acks"], unsafe["enable_idempotence"], unsafe["linger_ms"]) == ("1", "no", "5")
    assert "bootstrap_servers" not in safe
    settings = dict(section.settings)
    assert settings["safe producer"] == "yes; no"
    assert settings["linger"] == "0 ms; 5 ms"
    assert "replies" not in settings
    assert settings["broker"] == "version 4.3.1, 1 node, from: cache"


@pytest.mark.parametrize(
    ("durability", "confirms", "mode", "queue"),
    [("A", "no", "1", "classic"), ("C", "yes", "2", "stream"), ("D", "yes", "2", "quorum")],
)
def test_rabbitmqs_queues_follow_from_the_class(
    durability: str, confirms: str, mode: str, queue: str
) -> None:
    condition = replace(summaries.USUAL, broker=BrokerWay(durability=durability))
    cell = summaries.cell("rabbitmq", summaries.OPEN[0], condition=condition)
    section = section_of("rabbitmq", cell)
    assert "linger" not in dict(section.settings)  # RabbitMQ has no such thing
    assert dict(section.settings)["replies"] == "queue"
    ((title, pairs),) = section.given
    assert title == f"aio-pika, class {durability}"
    given = dict(pairs)
    assert (given["publisher confirms"], given["delivery_mode"]) == (confirms, mode)
    assert given["queues: x-queue-type"] == queue


def test_what_speaks_against_a_style_has_its_remedy() -> None:
    made = summaries.failed_style()
    against = {each.style: each.against for each in style_sections(made)}
    assert against["rest"] == []
    (reason,) = against["grpc-unary"]
    assert (reason.status, reason.what, reason.cells) == ("failed", "disconnected", "1 of 1")
    assert reason.remedy == RULES[Code.DISCONNECTED][1]
    assert reason.remedy in page_of(summaries.failed_style).text


def test_a_driver_of_the_users_own_gets_an_honest_section() -> None:
    base = summaries.cell("rest", summaries.OPEN[0])
    info = {**base.info, "style": "mine", "variant": "mine:own+fastapi", "id": "place.mine"}
    section = section_of("mine", replace(base, info=info))
    assert section.text == OWN.text
    assert section.example is None
    assert section.fixed == []
    settings = dict(section.settings)
    assert settings["client library"] == "your own driver"
    assert settings["server library"] == "fastapi"
    assert settings["codec"] == "its own"


def test_a_service_of_the_users_own_is_not_described_as_ours() -> None:
    section = section_of(
        "rest",
        summaries.cell("rest", summaries.OPEN[0]),
        targets={"rest": "http://127.0.0.1:8080"},
    )
    assert dict(section.settings)["server library"] == "your own service, by --target"
    assert section.fixed
    assert {setting.side for setting in section.fixed} == {"client"}


def test_settings_of_a_library_are_shown_for_that_library_only() -> None:
    made = [summaries.cell("rest:httpx", summaries.OPEN[0])]
    names = {setting.name for setting in section_of("rest", *made).fixed}
    assert "the library's pool" not in names
    assert "access log" in names
    raw = [summaries.cell("rest:asyncio+asyncio", summaries.OPEN[0])]
    names = {setting.name for setting in section_of("rest", *raw).fixed}
    assert not {"the library's pool", "access log"} & names
    assert "garbage collector" in names


def test_a_users_variant_is_escaped() -> None:
    text = text_of(summaries.hostile)
    _, _, below = text.partition('<h2 id="styles">')
    shown, *_ = below.partition("</section>")
    assert "<script" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown


def test_every_style_of_the_catalog_has_a_text_and_an_example() -> None:
    """The texts are the styles' own, and no style that talks goes without an exchange."""
    assert set(ABOUT) == set(catalog.styles())
    assert len({about.text for about in ABOUT.values()}) == len(ABOUT)
    for style in catalog.styles():
        example = wire_example(style)
        if style == "noop":
            assert example is None
            continue
        assert example is not None
        first, last = example.steps[0], example.steps[-1]
        assert first.speaker == "client"
        assert {step.hearer for step in example.steps} >= {"client"}
        assert last.size > 0
        words = "\n".join(step.text for step in example.steps)
        assert "example-order-2" in words
        assert "500" in words  # what two at 250 come to
        written = '"idempotency_key":' if ABOUT[style].codec == "JSON" else "idempotency_key: "
        assert written in words


def test_examples_have_the_libraries_that_stand_for_a_style() -> None:
    for file in FOLDER.glob("*.json"):
        example = json.loads(file.read_text())
        entry = catalog.find(file.stem)
        assert (example["client"], example["server"]) == (entry.client, entry.server)


def test_nothing_of_a_machine_is_in_an_example() -> None:
    for file in FOLDER.glob("*.json"):
        text = file.read_text()
        assert not re.search(r"/(tmp|root|home|usr|work)\b|\d{9,}|[0-9a-f]{16,}", text), file
        assert not re.search(r"(127\.0\.0\.1|localhost):\d", text), file


def test_a_style_that_is_a_path_has_no_example() -> None:
    assert wire_example("../../../pyproject") is None
    assert wire_example("") is None


def test_a_page_shows_the_exchange_step_by_step() -> None:
    text = page_of(summaries.one_cell).text
    for words in (
        "client → server",
        "POST /orders HTTP/1.1",
        "201 Created",
        "One order on the wire",
    ):
        assert words in text


def test_cells_that_are_there_only_for_an_a_a_pair_are_not_told_again() -> None:
    made = [
        summaries.cell("rest", summaries.OPEN[0]),
        summaries.cell("rest=again", summaries.OPEN[0], again="rest:aiohttp+fastapi"),
    ]
    assert len(section_of("rest", *made).rows) == 1


def test_unstable_cells_are_counted_among_all() -> None:
    reason = [Reason(Code.UNSTABLE, "trial 1: p99 9 ms, of all trials 1 ms")]
    made = [
        summaries.cell("rest", summaries.OPEN[0], reason),
        summaries.cell("rest", summaries.OPEN[1]),
    ]
    (against,) = section_of("rest", *made).against
    assert against.cells == "1 of 2"


def test_messages_have_a_section_too() -> None:
    made = message_summaries.ALL[0]()
    assert style_sections(made)
