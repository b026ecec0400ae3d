"""The page's files as a browser gets them through the host: compressed, kept, asked for again, and small."""

import gzip
import re

import httpx

from tests.app import App

LIMIT = 100_000  # bytes over the network, for all of it


def raw(app: App, path: str, **headers: str) -> tuple[httpx.Response, bytes]:
    """The response, and its body as it came over the network."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with app.client.stream("GET", f"{app.settings['APP_URL']}/{path}", headers=named) as answer:
        return answer, b"".join(answer.iter_raw())


def test_every_file_comes_compressed_with_an_etag_of_its_own_and_is_not_sent_twice(app: App) -> None:
    start, page = raw(app, "", accept_encoding="gzip")
    assert start.headers["Content-Type"].startswith("text/html")
    files = re.findall(r'(?:href|src)="(page/[^"]+)"', gzip.decompress(page).decode())
    sent = 0
    for path in ("", *dict.fromkeys(files)):
        packed, body = raw(app, path, accept_encoding="gzip, br")
        plain, whole = raw(app, path, accept_encoding="identity")
        assert (packed.status_code, packed.headers["Content-Encoding"], packed.headers["Vary"]) == (
            200, "gzip", "Accept-Encoding",
        ), path  # fmt: skip
        assert "Content-Encoding" not in plain.headers
        assert gzip.decompress(body) == whole
        assert packed.headers["ETag"] != plain.headers["ETag"], "caches must not mix them"
        again, nothing = raw(app, path, accept_encoding="gzip, br", if_none_match=packed.headers["ETag"])
        assert (again.status_code, nothing, again.headers["ETag"]) == (304, b"", packed.headers["ETag"])
        assert again.headers["Vary"] == "Accept-Encoding"
        sent += len(body)
    assert sent < LIMIT, "the whole page, over the network"
