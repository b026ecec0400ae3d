"""HTTP: the page for the people who keep certificates: the files of page/, for anybody. What it shows it asks the API.

Its files lie under a path with their version in it, so that a browser keeps them for good and never mixes two versions.
"""

import functools
import gzip
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import azure.functions as func

from certrelay.errors import NotFound
from handlers.http import Answer, endpoint
from handlers.routes import Blueprint

FOLDER = Path(__file__).parent.parent / "page"
TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}
FOR_GOOD = {"Cache-Control": "public, max-age=31536000, immutable"}


@dataclass(frozen=True)
class Files:
    """The page's files by name, and the version that all of them together have."""

    version: str
    contents: dict[str, bytes]

    def start_page(self) -> bytes:
        """index.html with its version, and with the modules to load at once."""
        modules = sorted(name for name in self.contents if name.endswith(".js"))
        links = "\n".join(f'<link rel="modulepreload" href="page/{self.version}/{name}">' for name in modules)
        text = self.contents["index.html"].decode().replace("<!-- modules -->", links)
        return text.replace("{version}", self.version).encode()


@functools.cache
def files() -> Files:
    """The files of the folder, read once."""
    found = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in TYPES}
    digest = hashlib.sha256()
    for name, content in found.items():
        digest.update(f"{name}:{len(content)}:".encode() + content)
    return Files(digest.hexdigest()[:16], found)


def web_page(req: func.HttpRequest) -> Answer:
    """The page itself."""
    return _answer(req, files().start_page(), ".html", HEADERS)


def web_page_file(req: func.HttpRequest) -> Answer:
    """A file of the page. One of another version is answered with today's, which is not kept."""
    name, page = req.route_params["file"], files()
    content = page.contents.get(name)
    if content is None or name == "index.html":
        raise NotFound("the page has no such file")
    kept = FOR_GOOD if req.route_params["version"] == page.version else {}
    return _answer(req, content, Path(name).suffix, HEADERS | kept)


def _answer(req: func.HttpRequest, content: bytes, suffix: str, headers: dict[str, str]) -> Answer:
    """The content with an ETag, compressed where the browser takes that."""
    if _takes_gzip(req.headers.get("accept-encoding", "")):
        content, headers = compressed(content), headers | {"Content-Encoding": "gzip"}
    return Answer(content, headers=headers, content_type=TYPES[suffix], cached=True)


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding names gzip, with another weight than 0 (RFC 9110, section 12.5.3)."""
    for part in accepted.lower().split(","):
        coding, *parameters = (one.strip() for one in part.split(";"))
        if coding == "gzip":
            return not any(re.fullmatch(r"q=0(\.0*)?", one) for one in parameters)
    return False


@functools.lru_cache(maxsize=64)
def compressed(content: bytes) -> bytes:
    """The content in gzip, the same bytes each time."""
    return gzip.compress(content, 9, mtime=0)


blueprint: Blueprint = {handler.__name__: endpoint(handler) for handler in (web_page, web_page_file)}
