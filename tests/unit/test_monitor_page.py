"""The page of a status: what a person on call reads first, a table twin under each figure, nothing from outside."""

import http.client
import json
import re
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from monitor_examples import Story, example, write, written

from gatewise.core import GatewiseError
from gatewise.monitor import Alarm, Record
from gatewise.monitor._cost import Machine
from gatewise.monitor._page import page, write_page
from gatewise.monitor._page_serve import PageServer
from gatewise.monitor._status import StatusSettings, status_of
from gatewise.monitor._status_plain import plain

NASTY = '<script>alert("x")</script>&\u202e'


def document(story: Story | None = None, **more: Any) -> dict[str, Any]:
    told = story or Story(requests=600, minutes=4.0, shadowed=0.5, slower=1.3, canary=True)
    settings = StatusSettings(machine=Machine(cores=2, price_per_hour=0.2), **more)
    return status_of(written(*example(told)), settings, folder="records")


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return document()


class Outline(HTMLParser):
    """The tags of a page, and the text in each section."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def count(self, name: str) -> int:
        return sum(tag == name for tag, _ in self.tags)


class TestThePage:
    """What stands on it."""

    def test_the_answer_comes_first(self, found: dict[str, Any]) -> None:
        html = page(found)
        order = [
            "encoder v2 is slower than v1.",
            "Known since",
            "What to do",
            "gatewise promote encoder none",
            "evidence",
        ]
        places = [html.index(each, html.index("<main")) for each in order]
        assert places == sorted(places)
        assert places[-1] < html.index("Comparisons</h2>")

    def test_every_figure_has_a_table_with_as_many_numbers(self, found: dict[str, Any]) -> None:
        html = page(found)
        for section in re.findall(r'<section class="block".*?</section>', html, re.DOTALL):
            if "<figure" in section:
                assert section.index("<figure") < section.index("<table")
        line = found["timeline"]
        filled = sum(bool(n) for each in line["series"] for n in each["requests"])
        assert f"The numbers of this figure, {filled} rows" in html

    def test_nothing_comes_from_outside_and_no_script_runs(self, found: dict[str, Any]) -> None:
        outline = Outline(page(found))
        kinds = [attributes.get("type") for tag, attributes in outline.tags if tag == "script"]
        assert kinds == ["application/json"]
        addresses = [
            value
            for _, attributes in outline.tags
            for key, value in attributes.items()
            if key in ("src", "href", "action")
        ]
        assert {address for address in addresses if address} == {"#main", "data:,"}

    def test_the_page_alone_is_enough_to_read_the_numbers_again(self, found: dict[str, Any]) -> None:
        data = re.search(r'<script type="application/json" id="result">(.*?)</script>', page(found), re.DOTALL)
        assert data is not None
        assert json.loads(data[1]) == found

    def test_ids_are_unique_and_figures_are_named(self, found: dict[str, Any]) -> None:
        outline = Outline(page(found))
        ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        for _, attributes in outline.tags:
            assert set((attributes.get("aria-labelledby") or "").split()) <= set(ids)

    def test_no_number_is_a_nan_or_a_none(self, found: dict[str, Any]) -> None:
        text = " ".join(Outline(page(found)).texts[:-8])
        assert not re.search(r"\b(nan|None|inf|undefined)\b", text)

    def test_text_from_records_never_becomes_markup(self) -> None:
        record = Record(
            request="a",
            at_ns=10**18,
            model=NASTY,
            version=NASTY,
            digest=NASTY,
            role="live",
            status="error",
            reason=NASTY,
        )
        alarm = Alarm(kind="drift", model=NASTY, version=NASTY, at_ns=10**18, summary=NASTY, evidence={NASTY: NASTY})
        status = status_of([record], StatusSettings(), folder=NASTY) | {"alarms": [plain(alarm)], "headline": NASTY}
        html = page(status)
        assert "<script>alert" not in html
        assert Outline(html).count("script") == 1

    @pytest.mark.parametrize("records", [0, 1, 2])
    def test_almost_nothing_is_a_page_too(self, records: int) -> None:
        held = [
            Record(request=str(index), at_ns=10**18 + index, model="m", version="v", digest="d", role="live")
            for index in range(records)
        ]
        html = page(status_of(held, StatusSettings(machine=Machine(cores=1)), folder="records"))
        assert ("No request has been recorded yet." in html) is (records == 0)

    def test_only_refused_requests_and_a_price_make_no_figure_fail(self) -> None:
        held = [
            Record(
                request=str(index),
                at_ns=10**18 + index * 10**9,
                model="m",
                version="v",
                digest="d",
                role="live",
                status="refused",
                reason="full",
            )
            for index in range(5)
        ]
        html = page(status_of(held, StatusSettings(machine=Machine(cores=1, price_per_hour=1.0)), folder="records"))
        assert "full" in html

    def test_two_models_are_told_apart(self) -> None:
        one = Record(request="a", at_ns=10**18, model="encoder", version="v1", digest="d", role="live", compute_s=0.1)
        two = Record(
            request="b", at_ns=10**18 + 1, model="ranker", version="v1", digest="e", role="live", compute_s=0.1
        )
        html = page(status_of([one, two], StatusSettings(machine=Machine(cores=1)), folder="records"))
        assert "encoder v1 live" in html
        assert "ranker v1 live" in html

    def test_the_alarm_is_drawn_where_it_happened(self, found: dict[str, Any]) -> None:
        assert page(found).count('class="alarm"') == 2 * len(found["alarms"])  # wide and narrow


class TestWriting:
    """The page as a file."""

    def test_it_is_written_with_its_folder(self, found: dict[str, Any], tmp_path: Path) -> None:
        path = write_page(found, tmp_path / "new" / "page.html")
        assert path.read_text("utf-8") == page(found)

    def test_a_folder_is_no_file(self, found: dict[str, Any], tmp_path: Path) -> None:
        with pytest.raises(GatewiseError, match="is a folder"):
            write_page(found, tmp_path)

    def test_a_place_that_cannot_be_is_said(self, found: dict[str, Any], tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(GatewiseError, match="cannot write"):
            write_page(found, tmp_path / "file" / "page.html")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PageServer]:
    folder = write(tmp_path / "records", Story(requests=60, minutes=1.0))
    with PageServer(folder, StatusSettings(), port=0, every_s=3.0) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield found
        found.shutdown()
        thread.join(10)


def ask(server: PageServer, path: str, method: str = "GET", host: str | None = None) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(method, path, headers={} if host is None else {"Host": host})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


class TestServing:
    """The live page, on this machine alone."""

    def test_it_gives_the_page_and_the_numbers(self, server: PageServer) -> None:
        code, headers, html = ask(server, "/")
        assert code == 200
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        assert "renew every 3 s" in html
        code, headers, text = ask(server, "/status.json?now")
        assert (code, headers["Content-Type"]) == (200, "application/json; charset=utf-8")
        assert json.loads(text)["schema"] == "gatewise.monitor/1"

    def test_no_script_but_its_own_may_run(self, server: PageServer) -> None:
        _, headers, _ = ask(server, "/")
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'sha256-")
        assert "unsafe-inline" not in policy.split("style-src")[0]

    @pytest.mark.parametrize(
        ("path", "method", "host", "code"),
        [
            ("/other", "GET", None, 404),
            ("/../etc/passwd", "GET", None, 404),
            ("/", "HEAD", None, 200),
            ("/", "POST", None, 501),
            ("/status.json", "GET", "evil.example", 403),
            ("/status.json", "GET", "evil.example:80", 403),
            ("/status.json", "GET", "localhost:1", 200),
        ],
    )
    def test_what_it_answers(self, server: PageServer, path: str, method: str, host: str | None, code: int) -> None:
        found, _, body = ask(server, path, method, host)
        assert found == code
        assert method != "HEAD" or body == ""

    def test_it_listens_on_this_machine_alone(self, server: PageServer) -> None:
        assert server.server_address[0] == "127.0.0.1"

    def test_a_port_that_is_taken_is_said(self, server: PageServer, tmp_path: Path) -> None:
        with pytest.raises(GatewiseError, match="cannot be used"):
            PageServer(tmp_path, StatusSettings(), port=server.port, every_s=1.0)

    def test_a_log_that_cannot_be_read_is_an_answer(self, server: PageServer, tmp_path: Path) -> None:
        ask(server, "/status.json")
        import shutil

        shutil.rmtree(tmp_path / "records")
        server.forget()
        code, _, text = ask(server, "/status.json")
        assert code == 500
        assert "no log here" in text
