"""/docs in a real browser, without the internet."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.e2e.conftest import Server, answer

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def browser() -> Iterator[Browser]:
    assert CHROMIUM.exists(), (
        f"{CHROMIUM} is not installed, and this test needs it: install it (apt-get install chromium)"
    )
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


def test_the_page_shows_every_operation_and_calls_one(server: Server, browser: Browser) -> None:
    with server.http() as http:
        answer(http.post("/spaces", json={"space_id": "alpha", "description": "", "rules": "# R"}), 201)
        described = http.get(server.urls["docs"].replace("/docs", "/openapi.json")).json()["paths"]
    page = browser.new_page()
    messages: list[str] = []
    hosts: set[str] = set()
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))

    page.goto(server.urls["docs"])
    blocks = page.locator(".opblock")
    expect(blocks).to_have_count(sum(map(len, described.values())), timeout=60_000)

    page.get_by_role("button", name="Authorize").first.click()
    page.locator(".dialog-ux input").first.fill(server.admin_key)
    page.locator(".dialog-ux .auth-btn-wrapper button[type=submit]").click()
    page.locator(".dialog-ux .btn-done").click()

    block = page.locator("[id$='-space_list']")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    block.get_by_role("button", name="Execute").click()
    answered = block.locator(".live-responses-table .response").first
    expect(answered.locator(".response-col_status")).to_contain_text("200", timeout=60_000)
    expect(answered).to_contain_text('"alpha"')

    assert messages == []
    assert hosts - {""} == {urlsplit(server.base_url).netloc}
