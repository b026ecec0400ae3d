"""The page's files, as they are served: their headers, how they are kept, and that they are small and strict."""

import gzip
import json
import re
from typing import Any

import azure.functions as func
import pytest

from handlers import page
from handlers.http import endpoint

FILES = page.files()
DOCUMENT = page.FOLDER.parent / "docs" / "page.md"
EXPORTED = r"^export (?:async )?(?:function\*? |const |let |class )(\w+)"
MOST_LINES, LONGEST_LINE = 300, 120
MOST_SENT = 67_000  # bytes, of all files as a browser gets them


def ask(handler: Any, route: dict[str, str] | None = None, **headers: str) -> func.HttpResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = func.HttpRequest("GET", "https://host/", headers=named, route_params=route or {}, body=b"")
    return endpoint(handler)(request)


def file(name: str, version: str = FILES.version, **headers: str) -> func.HttpResponse:
    return ask(page.web_page_file, {"version": version, "file": name}, **headers)


def test_everything_comes_with_a_policy_that_lets_in_nothing_else() -> None:
    for answer in (ask(page.web_page), file("app.js"), file("style.css"), file("icon.svg")):
        assert answer.status_code == 200
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
        for part in ("base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'"):
            assert part in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_files_are_kept_for_good_under_their_version_and_the_page_itself_is_asked_for_again() -> None:
    assert ask(page.web_page).headers["Cache-Control"] == "no-cache"
    assert "immutable" in file("app.js").headers["Cache-Control"]
    older = file("app.js", "0123456789abcdef")
    assert (older.status_code, older.headers["Cache-Control"]) == (200, "no-cache")
    again = ask(page.web_page, if_none_match=ask(page.web_page).headers["ETag"])
    assert (again.status_code, again.get_body()) == (304, b"")


def test_another_content_is_another_version(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index.html").write_text("<!-- modules -->{version}")
    monkeypatch.setattr(page, "FOLDER", tmp_path)
    versions = set()
    for text in ("one", "two"):
        (tmp_path / "app.js").write_text(text)
        versions.add(page.files.__wrapped__().version)
    assert len(versions) == 2


@pytest.mark.parametrize(
    "name", ["index.html", "none.js", "../host.json", "..\\host.json", "app.js/", "", "__init__.py"]
)
def test_nothing_but_the_pages_files_is_served(name: str) -> None:
    answer = file(name)
    assert answer.status_code == 404
    assert json.loads(answer.get_body())["code"] == "NotFound"


def test_it_is_compressed_for_whoever_takes_that() -> None:
    plain, packed = file("app.js"), file("app.js", accept_encoding="br, gzip;q=0.8")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.get_body()) == plain.get_body()
    assert "Content-Encoding" not in plain.headers


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip;q=0", False), ("gzip; q=0.000, br", False), ("GZip;Q=0", False), ("identity, gzip;q=0, *", False),
        ("", False), ("gzip;q=", True), ("GZIP", True), ("gzip;q=0.001", True), ("gzip;q=1;x=0", True),
    ],
)  # fmt: skip
def test_it_is_not_compressed_for_whoever_refuses_that(accepted: str, packed: bool) -> None:
    assert ("Content-Encoding" in file("app.js", accept_encoding=accepted).headers) is packed


def test_no_file_has_inline_code_a_foreign_address_or_a_way_to_make_markup_of_text() -> None:
    for name, content in FILES.contents.items():
        text = content.decode()
        assert not re.search(r"(inner|outer|insertAdjacent)HTML|document\.write|\beval\(|new Function", text), name
        foreign = re.findall(r"https?://[^\s\"'`]+", text)
        assert [url for url in foreign if not url.startswith("http://www.w3.org/")] == [], name
        if name == "index.html":
            assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*src=)", text)


def modules() -> dict[str, str]:
    return {name: content.decode() for name, content in FILES.contents.items() if name.endswith(".js")}


def test_every_module_is_loaded_at_once_and_exports_what_others_import() -> None:
    start = FILES.start_page().decode()
    exported = {name: set(re.findall(EXPORTED, text, re.MULTILINE)) for name, text in modules().items()}
    for name, text in modules().items():
        assert f'href="page/{FILES.version}/{name}"' in start
        for names, imported in re.findall(r'^import \{([^}]*)\} from "\./([^"]+)";', text, re.MULTILINE):
            wanted = {one.split(" as ")[0].strip() for one in names.split(",")} - {""}
            assert wanted <= exported[imported], f"{name} imports {imported}"


@pytest.mark.parametrize("name", sorted(name for name in FILES.contents if not name.endswith(".svg")))
def test_no_file_has_more_or_longer_lines_than_a_person_reads(name: str) -> None:
    lines = FILES.contents[name].decode().splitlines()
    assert name == "style.css" or len(lines) <= MOST_LINES
    assert [line for line in lines if len(line) > LONGEST_LINE] == []


def test_what_a_browser_gets_is_small() -> None:
    sent = [len(file(name, accept_encoding="gzip").get_body()) for name in FILES.contents if name != "index.html"]
    assert sum(sent) + len(ask(page.web_page, accept_encoding="gzip").get_body()) < MOST_SENT
    assert f"below {MOST_SENT // 1000} kB" in " ".join(DOCUMENT.read_text().split())


def test_the_document_tells_how_many_files_there_are_and_how_large() -> None:
    text = " ".join(DOCUMENT.read_text().split())
    told = re.search(r"The (\d+) files are (\d+) kB .* by itself, they are (\d+) kB", text)
    assert told is not None
    number, raw, sent = map(int, told.groups())
    assert number == len(FILES.contents)
    for kilobytes, contents in ((raw, FILES.contents.values()), (sent, map(page.compressed, FILES.contents.values()))):
        assert sum(map(len, contents)) == pytest.approx(kilobytes * 1000, rel=0.03)
