import pytest

from tests.unit.api.edge_app import AS_READER, KnownTokens, asking, assert_problem, make_app

READ = "/api/v1/spaces/alpha/things"


async def test_a_known_token_is_let_in_whatever_the_case_of_the_scheme() -> None:
    async with asking(make_app()) as client:
        for scheme in ("Bearer", "bearer", "BEARER"):
            assert (await client.get(READ, headers={"Authorization": f"{scheme} reader-token"})).status_code == 200


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        b"Basic reader-token",
        b"reader-token",
        b"Bearer unknown",
        b"Bearer two words",
        b"Bearer " + b"x" * 257,
        b"Bearer caf\xe9",
        b"Bearer reader-token\x7f",
    ],
)
async def test_anything_else_is_refused_with_a_challenge(value: bytes) -> None:
    async with asking(make_app()) as client:
        response = await client.get(READ, headers=[(b"authorization", value)])
    assert_problem(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"].startswith("Bearer ")


async def test_two_tokens_are_no_token() -> None:
    async with asking(make_app()) as client:
        headers = [("Authorization", "Bearer reader-token"), ("Authorization", "Bearer writer-token")]
        assert_problem(await client.get(READ, headers=headers), 401, "unauthenticated")


async def test_a_token_in_the_address_or_in_a_cookie_is_not_looked_at() -> None:
    tokens = KnownTokens()
    async with asking(make_app(authenticator=tokens)) as client:
        response = await client.get(READ, params={"token": "reader-token"}, headers={"Cookie": "token=reader-token"})
    assert_problem(response, 401, "unauthenticated")
    assert tokens.asked == []


async def test_without_a_token_nothing_is_said_about_what_exists() -> None:
    async with asking(make_app()) as client:
        for path in ("/api/v1/nothing", "/metrics", "/api/v1/spaces/alpha/files/lost", "/DOCS"):
            assert_problem(await client.get(path), 401, "unauthenticated")


@pytest.mark.parametrize(
    "path", ["/health", "/ready", "/docs", "/docs/init.js", "/openapi.json", "/api/v1/things/health"]
)
async def test_what_is_public_needs_no_token_and_no_registry(path: str) -> None:
    tokens = KnownTokens()
    tokens.outage = True
    async with asking(make_app(authenticator=tokens)) as client:
        assert (await client.get(path)).status_code == 200
        assert (await client.get(path, headers=AS_READER)).status_code == 200


async def test_a_bad_token_on_a_public_operation_is_an_anonymous_call() -> None:
    async with asking(make_app()) as client:
        response = await client.get("/api/v1/things/health", headers={"Authorization": "Bearer unknown"})
    assert response.status_code == 200


async def test_an_unreadable_registry_is_an_outage_and_not_a_refusal() -> None:
    tokens = KnownTokens()
    tokens.outage = True
    async with asking(make_app(authenticator=tokens)) as client:
        assert_problem(await client.get(READ, headers=AS_READER), 503, "store_unavailable")


async def test_the_body_of_an_unknown_caller_is_never_read() -> None:
    app = make_app()
    sent = []

    async def receive() -> dict[str, object]:
        raise AssertionError("the body was read")

    async def send(message: object) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": READ, "raw_path": READ.encode(), "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-length", b"9")], "scheme": "http", "http_version": "1.1",
        "root_path": "", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    await app(scope, receive, send)
    assert sent[0]["status"] == 401  # type: ignore[index]
