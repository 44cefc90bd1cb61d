"""The guard: who may ask, how much and how slowly, and what answers carry."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from unetkit.errors import DataError, UsageError
from unetkit.serving.guard import Access, Guard, Limits, access_for, guarded

TOKEN = "a-token-of-enough-letters"


async def _who(request: Request) -> Response:
    return JSONResponse({"client": request.state.client})


async def _size(request: Request) -> Response:
    return JSONResponse({"bytes": len(await request.body())})


async def _data(request: Request) -> Response:
    raise DataError("/secret/place/9f/cells.png: truncated; copy it again")


async def _defect(request: Request) -> Response:
    raise RuntimeError("/secret/place of the machine")


ROUTES = [
    Route("/", _who),
    Route("/api/who", _who),
    Route("/api/size", _size, methods=["POST"]),
    Route("/api/data", _data),
    Route("/api/defect", _defect),
]


@pytest.fixture
def client() -> Callable[..., httpx.AsyncClient]:
    def make(access: Access = Access(), limits: Limits = Limits()) -> httpx.AsyncClient:
        app = guarded(ROUTES, access=access, limits=limits, private=Path("/secret/place"))
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000")

    return make


def _get(client: httpx.AsyncClient, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.run(client.request(method, path, headers=named))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:9999"}, 200),
        ({"host": "rebound.example:8000"}, 421),
        ({"host": "127.0.0.1.rebound.example"}, 421),
        ({"host": "[::"}, 421),
        ({"host": ""}, 421),
        ({"origin": "http://["}, 403),
        ({"origin": "http://127.0.0.1:8000"}, 200),
        ({"origin": "http://127.0.0.1:3000"}, 403),
        ({"origin": "http://elsewhere.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "same-origin"}, 200),
    ],
)
def test_only_the_own_page_and_no_page_may_ask(
    client: Callable[..., httpx.AsyncClient], headers: dict[str, str], status: int
) -> None:
    assert _get(client(), "/api/who", **headers).status_code == status


def test_a_link_on_another_site_opens_the_page_alone(client: Callable[..., httpx.AsyncClient]) -> None:
    visit = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert _get(client(), "/", **visit).status_code == 200
    assert _get(client(), "/api/who", **visit).status_code == 403


def test_answers_carry_the_headers_of_a_page_that_loads_nothing_from_elsewhere(
    client: Callable[..., httpx.AsyncClient],
) -> None:
    for path in ("/api/who", "/nowhere", "/api/defect"):
        answer = _get(client(), path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert len(answer.headers["x-request-id"]) == 12
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_token_is_asked_for_and_given_once_for_a_cookie(client: Callable[..., httpx.AsyncClient]) -> None:
    http = client(Access(TOKEN, None))
    assert _get(http, "/api/who").status_code == 401
    assert _get(http, "/api/who", authorization="Bearer another-token-of-letters").status_code == 401
    assert _get(http, "/?token=another-token-of-letters").status_code == 401
    assert _get(http, f"/api/who?token={TOKEN}").status_code == 401
    assert _get(http, "/api/who", authorization=f"Bearer {TOKEN}").json() == {"client": "token"}
    opened = _get(http, f"/?token={TOKEN}")
    assert (opened.status_code, opened.headers["location"]) == (303, "/")
    cookie = opened.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert TOKEN not in cookie
    shown = cookie.partition(";")[0]
    assert _get(http, "/api/who", cookie=shown).status_code == 200
    forged = f"{shown[:-1]}{'0' if shown[-1] != '0' else '1'}"
    assert _get(client(Access(TOKEN, None)), "/api/who", cookie=forged).status_code == 401


def test_every_browser_is_a_client_of_its_own(client: Callable[..., httpx.AsyncClient]) -> None:
    http, cookies = client(), list[str]()
    for _ in range(2):
        http.cookies.clear()
        cookies.append(_get(http, "/").headers["set-cookie"].partition(";")[0])
    http.cookies.clear()
    names = {_get(http, "/api/who", cookie=one).json()["client"] for one in cookies}
    without = _get(http, "/api/who").json()["client"]
    assert without == "at 127.0.0.1"
    assert len(names | {without}) == 3


def test_bodies_are_bounded_whatever_their_length_says(client: Callable[..., httpx.AsyncClient]) -> None:
    http = client(limits=Limits(max_bytes=1000))

    async def chunks() -> "object":
        for _ in range(11):
            yield b"x" * 100

    async def send(content: object) -> httpx.Response:
        return await http.post("/api/size", content=content)

    assert asyncio.run(send(b"x" * 1000)).json() == {"bytes": 1000}
    assert asyncio.run(send(b"x" * 1001)).status_code == 413
    refused = asyncio.run(send(chunks()))
    assert refused.status_code == 413
    assert "1,000 bytes" in refused.json()["error"]


def test_a_body_that_trickles_is_ended(client: Callable[..., httpx.AsyncClient]) -> None:
    http = client(limits=Limits(body_seconds=0.05))

    async def send() -> httpx.Response:
        async def chunks() -> "object":
            for _ in range(100):
                await asyncio.sleep(0.02)
                yield b"x"

        return await http.post("/api/size", content=chunks())

    assert asyncio.run(send()).status_code == 408


def test_errors_are_one_line_without_places_of_the_machine(
    client: Callable[..., httpx.AsyncClient], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "unetkit.server")
    found = _get(client(), "/api/data")
    assert (found.status_code, found.json()) == (422, {"error": "cells.png: truncated; copy it again"})
    assert any(one.getMessage().endswith(" cells.png: truncated; copy it again") for one in caplog.records)
    failed = _get(client(), "/api/defect")
    assert failed.status_code == 500
    assert "secret" not in failed.text
    assert failed.headers["x-request-id"] in failed.json()["error"]
    assert any(record.exc_info and failed.headers["x-request-id"] in record.getMessage() for record in caplog.records)
    assert _get(client(), "/nowhere").json() == {"error": "Not Found"}
    assert _get(client(), "/api/who", "DELETE").status_code == 405
    assert _get(client(), "/" + "x" * 2000).status_code == 414


def test_the_log_has_no_token_and_no_line_that_a_client_made(
    client: Callable[..., httpx.AsyncClient], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "unetkit.server")
    _get(client(Access(TOKEN, None)), f"/?token={TOKEN}")
    _get(client(), "/a%0Ainvented%20line")
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert TOKEN not in text
    assert not any("\n" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("host", "token", "no_token", "asks", "accepts"),
    [
        ("127.0.0.1", None, False, False, "127.0.0.1:8000"),
        ("::1", None, False, False, "[::1]:8000"),
        ("localhost", None, False, False, "localhost:1"),
        ("0.0.0.0", None, False, True, "any.example"),
        ("0.0.0.0", None, True, False, "10.1.2.3:8000"),
        ("127.0.0.1", TOKEN, False, True, "any.example"),
    ],
)
def test_elsewhere_a_token_is_made(host: str, token: str | None, no_token: bool, asks: bool, accepts: str) -> None:
    access = access_for(host, token, no_token=no_token)
    assert (access.token is not None) == asks
    assert access.names(accepts)
    assert asks or not access.names("rebound.example")


def test_tokens_that_are_easily_guessed_are_refused() -> None:
    for token, no_token in (("short", False), ("sixteen letters?!", False), (TOKEN, True)):
        with pytest.raises(UsageError):
            access_for("0.0.0.0", token, no_token=no_token)


def test_a_client_that_does_not_read_is_let_go() -> None:
    app = guarded(ROUTES, limits=Limits(send_seconds=0.05))
    assert isinstance(app, Guard)

    async def ask() -> None:
        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: object) -> None:
            await asyncio.sleep(30)

        headers = [(b"host", b"127.0.0.1")]
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "headers": headers,
        }
        await app(scope | {"root_path": "", "scheme": "http", "client": None, "server": None}, receive, send)

    asyncio.run(asyncio.wait_for(ask(), 10))
