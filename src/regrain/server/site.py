"""Request -> response: a folder's files as they are, its .rgn files as pictures where a query asks, lists of the rest.

    GET /page/                 page/index.html, or a list of what the folder page holds
    GET /photo.rgn             the file
    GET /photo.rgn?format=webp&max-size=512&realism=0.5&steps=4&seed=7     what it decodes to

Every response may be used by a page that is isolated from other origins, which threads of WebAssembly need; and none by
a page of another origin. Errors are one line of text.
"""

import ipaddress
import os
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from anyio import to_thread
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.staticfiles import NotModifiedResponse, StaticFiles

from regrain.bitstream import EXTENSION, MIME
from regrain.errors import LimitError, RegrainError, UsageError
from regrain.server.folder import Place, listing, locate
from regrain.server.pictures import FORMATS, Busy, Decoding, Limits, decoder_for, tag

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["site"]

_HEADERS = {
    "Cache-Control": "no-cache",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_LIST_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_TYPES = {
    ".avif": "image/avif", ".css": "text/css", ".html": "text/html", ".js": "text/javascript",
    ".json": "application/json", ".mjs": "text/javascript", ".onnx": "application/octet-stream",
    ".rgn": MIME, ".safetensors": "application/octet-stream", ".svg": "image/svg+xml", ".wasm": "application/wasm",
    ".webp": "image/webp", ".woff2": "font/woff2",
}  # fmt: skip
"""Types by suffix, which the tables of systems have wrong or not at all; a browser runs no module of another type."""
_STATUS = {UsageError: 400, LimitError: 413, RegrainError: 422}
"""By class of the error, the first that fits."""
_RETRY = "2"


def site(root: str | os.PathLike[str], limits: Limits | None = None, host: str = "localhost") -> Starlette:
    """An ASGI application that shows the folder `root`, for requests that name `host`, or this machine, as their host.

    Where `host` is an address that stands for all of them (0.0.0.0, ::), requests may name any.

    >>> from starlette.testclient import TestClient
    >>> TestClient(site("."), "http://localhost").get("/none").text
    'there is no such file\\n'
    """
    folder = _Folder(Path(root).resolve(), limits or Limits())
    guard = Middleware(TrustedHostMiddleware, allowed_hosts=_hosts(host), www_redirect=False)
    return Starlette(routes=[Route("/{path:path}", folder.answer, methods=["GET"])], middleware=[guard])


def _hosts(host: str) -> list[str]:
    """The names by which requests may call this server: a page elsewhere could have its own name lead here."""
    try:
        if ipaddress.ip_address(host).is_unspecified:
            return ["*"]
    except ValueError:
        pass
    return ["localhost", "127.0.0.1", "[::1]", "::1", host, f"[{host}]"]


class _Folder:
    """The answers of a folder."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self._root, self._limits = root, limits
        self._files, self._decoding = StaticFiles(directory=root), Decoding(limits)

    async def answer(self, request: "Request") -> Response:
        """The response to GET or HEAD."""
        try:
            response = await self._answer(request)
        except Busy:
            text = f"{self._limits.decodes} pictures are being decoded, as many as may be at once"
            response = _line(text, 503, {"Retry-After": _RETRY})
        except RegrainError as error:
            status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
            response = _line(str(error), status)
        except OSError:
            response = _line("the file cannot be read", 404)
        response.headers.update(_HEADERS)
        return response

    async def _answer(self, request: "Request") -> Response:
        raw: bytes = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
        place = await to_thread.run_sync(locate, self._root, raw)
        if place is None or (raw.endswith(b"/") and not place.is_folder):
            return _line("there is no such file", 404)
        if place.is_folder:
            if not raw.endswith(b"/"):
                return RedirectResponse(raw.decode("latin-1") + "/")
            index = await to_thread.run_sync(locate, self._root, raw + b"index.html")
            if index is None or index.is_folder:
                return await to_thread.run_sync(self._list, place)
            return self._file(index, request)
        if request.query_params and place.path.suffix.lower() == EXTENSION:
            return await self._picture(place, request)
        return self._file(place, request)

    def _list(self, place: Place) -> Response:
        title = f"{self._root.name}/{place.path.relative_to(self._root).as_posix()}".removesuffix("/.") + "/"
        return HTMLResponse(listing(self._root, place.path, title), headers={"Content-Security-Policy": _LIST_POLICY})

    def _file(self, place: Place, request: "Request") -> Response:
        """A file as it is, a range of it, or that it has not changed."""
        response = self._files.file_response(place.path, place.facts, request.scope)
        kind = _TYPES.get(place.path.suffix.lower())
        if kind and response.status_code != 304:
            response.headers["Content-Type"] = f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
        return response

    async def _picture(self, place: Place, request: "Request") -> Response:
        """What a .rgn file decodes to; HEAD is answered without decoding, and so has no length."""
        format, decoder = decoder_for(request.query_params.multi_items(), self._limits)
        dated = formatdate(place.facts.st_mtime, usegmt=True)
        headers = {"ETag": tag(place.facts, request.query_params), "Last-Modified": dated}
        if self._files.is_not_modified(Headers(headers), request.headers):
            return NotModifiedResponse(Headers(headers))
        if request.method == "HEAD":
            response = Response(headers=headers, media_type=FORMATS[format])
            del response.headers["content-length"]
            return response
        data = await self._decoding.decode(decoder, str(place.path))
        return Response(data, headers=headers, media_type=FORMATS[format])


def _line(text: str, status: int, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(text + "\n", status, headers)
