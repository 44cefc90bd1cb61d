"""What stands before every server of unetkit: who may ask, how much, how slowly, and what answers carry.

`guarded` puts routes behind it. A request is refused unless it names this server (DNS rebinding), comes from its own
page or from no page at all (no other site can use a browser to reach it), and shows the token where there is one: as
`Authorization: Bearer`, or as a cookie that the address with `?token=` gives once. Bodies have a largest size and a
least speed, answers a longest wait for a client that does not read. Answers carry a number that the log has, too, and
headers that let a page load nothing from elsewhere. An error is one line of JSON; what we did not expect is logged with
its traceback and answered without it.

Does not know what is served. Assumes that whoever shows a cookie or the token is one client.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import re
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unetkit.errors import DataError, ModelFileError, StorageError, UnetkitError, UsageError

log = logging.getLogger("unetkit.server")

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_HEALTH = ("/v2/health/live", "/v2/health/ready")
"""What needs no token: that the server lives says nothing about anything."""

_SHORTEST_TOKEN = 16
_LONGEST_PATH = 1000


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask.

    Attributes:
        token: that a client must show; None: it need not.
        hosts: names of this server in the header `Host`, lower case; None: any.
        addresses: whether an IP address is such a name, too: no other site can have one.
    """

    token: str | None = None
    hosts: frozenset[str] | None = frozenset({"127.0.0.1", "localhost", "[::1]"})
    addresses: bool = False

    def names(self, host: str) -> bool:
        """Tell whether the header `Host` names this server."""
        name = re.sub(r":[0-9]*$", "", host.lower())
        return self.hosts is None or name in self.hosts or (self.addresses and is_address(name.strip("[]")))


def is_address(name: str) -> bool:
    """Tell whether a name is an IP address."""
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def access_for(host: str, token: str | None, *, no_token: bool) -> Access:
    """Return who may ask a server that listens at `host`: on this machine anybody, elsewhere who has the token.

    Raises:
        UsageError: a token and none, or one that is easily guessed.
    """
    if token is not None and no_token:
        raise UsageError("--token and --no-token were both given; give one of them")
    if token is not None and (len(token) < _SHORTEST_TOKEN or not re.fullmatch(r"[A-Za-z0-9_.~-]+", token)):
        raise UsageError(
            f"--token: {len(token)} characters; give {_SHORTEST_TOKEN} or more letters, digits, - and _, or leave it "
            "out where --host is given: then one is made"
        )
    here = host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)
    if token is not None or not (here or no_token):
        return Access(token or secrets.token_urlsafe(24), None)
    own = {"localhost", "127.0.0.1", "[::1]", host.lower()}
    return Access(None, frozenset(own if here else own | {socket.gethostname().lower()}), addresses=not here)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much, and how slowly.

    Attributes:
        max_bytes: of a request's body.
        body_seconds: until a body is there, and a second more for every `body_rate` bytes that have come.
        body_rate: bytes a second.
        send_seconds: that a client may leave a part of an answer unread.
    """

    max_bytes: int = 4 * 2**30
    body_seconds: float = 20.0
    body_rate: float = 2.0**16
    send_seconds: float = 60.0


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Answered:
    """An answered request, for counters: the function that answered, its status, seconds, and bytes in and out."""

    endpoint: str
    status: int
    seconds: float
    received: int
    sent: int


class Guard:
    """An ASGI application behind the guard.

    Attributes:
        draining: tells whether the server is about to end; long answers should end, too.
        limits: of every request.
        access: who may ask.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access = Access(),
        limits: Limits = Limits(),
        observe: Callable[[Answered], None] | None = None,
    ) -> None:
        """Put the guard before an application; `observe` hears of every answer."""
        self.access, self.limits, self.draining = access, limits, _never
        self._app, self._observe = app, observe
        self._key = hashlib.sha256(f"unetkit {access.token or secrets.token_hex()}".encode()).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass the server's start and end on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        began, passage = time.monotonic(), _Passage(receive, send, self.limits, secrets.token_hex(6))
        scope.setdefault("state", {})
        scope["state"] |= {"request_id": passage.number, "draining": self.draining}
        try:
            refusal = self._refusal(Request(scope), passage)
            await (refusal or self._app)(scope, passage.receive, passage.send)
        except (ClientDisconnect, ConnectionError):
            log.info("%s the client is gone", passage.number)
        except TimeoutError:
            log.warning("%s ended: the client leaves the answer unread", passage.number)
        except Exception:
            log.exception("%s failed", passage.number)
        took, path = time.monotonic() - began, quote(scope["path"])[:200]
        level = logging.INFO if passage.status >= 400 or scope["method"] not in ("GET", "HEAD") else logging.DEBUG
        line = "%s %s %s %d, %d bytes in, %d out, %.3f s"
        method = scope["method"][:10]
        log.log(level, line, passage.number, method, path, passage.status, passage.received, passage.sent, took)
        if self._observe is not None:
            name = getattr(scope.get("endpoint"), "__name__", "none")
            self._observe(Answered(name, passage.status, took, passage.received, passage.sent))

    def _refusal(self, request: Request, passage: "_Passage") -> Response | None:
        """Return why a request is not answered, and note whose it is; None: it may pass."""
        host, path = request.headers.get("host", ""), str(request.scope["path"])
        if len(request.scope.get("raw_path") or path) > _LONGEST_PATH:
            return error(414, f"a path of more than {_LONGEST_PATH} characters")
        if not self.access.names(host):
            return error(
                421, f"found the host {host[:100]!r}, which is not a name of this server; open its own address"
            )
        origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "none")
        visit = request.method == "GET" and path == "/" and request.headers.get("sec-fetch-mode") == "navigate"
        foreign = origin is not None and origin.lower().partition("://")[2] != host.lower()
        if foreign or (site not in ("none", "same-origin") and not visit):
            return error(403, "a page of another site asks; only this server's own page may")
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 18 or int(length) > self.limits.max_bytes:
            return error(413, f"found a body of {length[:30]} bytes; {self.limits.max_bytes:,} are taken at most")
        server = request.scope.get("server") or ("", 0)
        name = f"unetkit-{server[1]}"
        client, given = self._cookie(request, name), request.headers.get("authorization", "")
        shown = given.removeprefix("Bearer ") if given.startswith("Bearer ") else ""
        if self.access.token is not None and client is None and path not in _HEALTH:
            asked = request.query_params.get("token", "") if path == "/" else ""
            if not hmac.compare_digest((shown or asked).encode(), self.access.token.encode()):
                return error(401, "this server asks for its token; open the address that it printed when it started")
        if path == "/" and client is None:
            client = secrets.token_hex(16)
            passage.cookie = f"{name}={client}.{self._signature(client)}; HttpOnly; SameSite=Lax; Path=/"
        address = request.client.host if request.client else ""
        request.scope["state"]["client"] = client or ("token" if shown else f"at {address}")
        return RedirectResponse("/", 303) if "token" in request.query_params and path == "/" else None

    def _cookie(self, request: Request, name: str) -> str | None:
        """Return the client that a cookie of ours names."""
        try:
            found = SimpleCookie(request.headers.get("cookie", "")).get(name)
        except CookieError:
            return None
        client, _, signature = ("" if found is None else found.value).partition(".")
        return client if hmac.compare_digest(signature.encode(), self._signature(client).encode()) else None

    def _signature(self, client: str) -> str:
        return hmac.new(self._key, client.encode(), "sha256").hexdigest()


class _Passage:
    """The messages of one request on their way through the guard."""

    def __init__(self, receive: Receive, send: Send, limits: Limits, number: str) -> None:
        self.number, self.cookie, self.status, self.received, self.sent = number, "", 0, 0, 0
        self._receive, self._send, self._limits = receive, send, limits
        self._began, self._whole = time.monotonic(), False

    async def receive(self) -> Message:
        """Give the next part of the body, if it comes in time and is not too much."""
        if self._whole:
            return await self._receive()
        limits = self._limits
        left = self._began + limits.body_seconds + self.received / limits.body_rate - time.monotonic()
        try:
            async with asyncio.timeout(left):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(
                408,
                f"after {time.monotonic() - self._began:.0f} s {self.received:,} bytes were there; send them faster",
            ) from None
        self.received += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self.received > limits.max_bytes:
            raise HTTPException(413, f"the body is larger than {limits.max_bytes:,} bytes, the most that is taken")
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer, if the client takes it in time."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = {key.lower() for key, _ in message.get("headers", ())}
            added = _HEADERS | {"x-request-id": self.number, "cache-control": "no-store"}
            added |= {"set-cookie": self.cookie} if self.cookie else {}
            extra = [(key.encode(), value.encode()) for key, value in added.items() if key.encode() not in own]
            message = {**message, "headers": [*message.get("headers", ()), *extra]}
        self.sent += len(message.get("body", b""))
        async with asyncio.timeout(self._limits.send_seconds):
            await self._send(message)


def error(status: int, text: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return an error as the interface has it: what was found, expected, to do."""
    return JSONResponse({"error": " ".join(text.split())}, status, headers)


def hiding(folder: Path) -> Callable[[str], str]:
    """Return what takes a folder out of texts: of `folder/ANY/name` it leaves `name`."""
    inside = re.compile(rf"{re.escape(str(folder))}(?:/[^/\s]+(?=/))?/?")
    return lambda text: inside.sub("", text)


Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]

_STATUS: tuple[tuple[type[UnetkitError], int], ...] = (
    (UsageError, 400),
    (DataError, 422),
    (StorageError, 507),
    (ModelFileError, 503),
)


def guarded(
    routes: Sequence[BaseRoute],
    *,
    access: Access = Access(),
    limits: Limits = Limits(),
    lifespan: Lifespan | None = None,
    private: Path | None = None,
    observe: Callable[[Answered], None] | None = None,
) -> Guard:
    """Put routes behind the guard.

    Args:
        routes: what is answered; anything else is 404. An endpoint finds its client's name in `request.state.client`,
            the request's number in `request.state.request_id`, and may raise any error of unetkit, or an
            `HTTPException` with a status of its own.
        access: who may ask.
        limits: of bytes and time.
        lifespan: what starts before the first request and ends after the last.
        private: a folder whose paths neither an answer nor the log may name; see `hiding`.
        observe: hears of every answer.
    """
    shown = str if private is None else hiding(private)

    async def refused(request: Request, failure: Exception) -> Response:
        assert isinstance(failure, HTTPException)
        return error(failure.status_code, failure.detail, failure.headers)

    async def ours(request: Request, failure: Exception) -> Response:
        status = next((status for kind, status in _STATUS if isinstance(failure, kind)), 500)
        said = shown(str(failure))
        log.info("%s %s", request.state.request_id, " ".join(said.split()))
        return error(status, said)

    async def unexpected(request: Request, failure: Exception) -> Response:
        number = request.state.request_id
        return error(500, f"this is a defect of unetkit, or memory or disk are full; the log has it as {number}")

    handlers: dict[Any, Any] = {HTTPException: refused, UnetkitError: ours, Exception: unexpected}
    app = Starlette(routes=list(routes), exception_handlers=handlers, lifespan=lifespan)
    return Guard(app, access, limits, observe)
