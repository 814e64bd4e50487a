import hashlib
import re

import pytest

from app.api.docs import ASSETS, STATIC, VENDORED, manifest
from tests.unit.api.edge_app import asking, make_app


def test_the_vendored_files_are_those_of_the_manifest() -> None:
    listed = manifest()["sha256"]
    assert isinstance(listed, dict)
    present = {path.name for path in VENDORED.iterdir()} - {"manifest.json"}
    assert present == set(listed)
    for name, digest in listed.items():
        assert hashlib.sha256((VENDORED / name).read_bytes()).hexdigest() == digest, name


def test_the_licence_travels_with_the_files() -> None:
    assert manifest()["licence"] == "Apache-2.0"
    assert "Apache License" in (VENDORED / "LICENSE").read_text()
    assert "swagger" in (VENDORED / "NOTICE").read_text().lower()


async def test_the_page_has_no_inline_code_and_asks_no_other_host() -> None:
    async with asking(make_app()) as client:
        page = (await client.get("/docs")).text
        sources = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert not [source for source in sources if "//" in source]
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\son\w+=|style=", page)
        for source in sources:
            assert (await client.get("/" + source)).status_code == 200, source


def test_the_start_script_asks_no_validator_and_keeps_no_token() -> None:
    script = (STATIC / "init.js").read_text()
    assert "validatorUrl: null" in script
    assert "persistAuthorization: false" in script


@pytest.mark.parametrize("name", sorted(ASSETS))
async def test_a_file_is_sent_once_per_version(name: str) -> None:
    async with asking(make_app()) as client:
        first = await client.get(f"/docs/{name}")
        again = await client.get(f"/docs/{name}", headers={"If-None-Match": first.headers["etag"]})
    assert first.status_code == 200
    assert first.headers["content-type"] == ASSETS[name].media_type
    assert "max-age" in first.headers["cache-control"]
    assert again.status_code == 304
    assert again.content == b""


@pytest.mark.parametrize(
    "path", ["manifest.json", "LICENSE", "..%2fapp.py", "%2e%2e/docs.html", "swagger-ui/LICENSE", ""]
)
async def test_a_name_that_is_not_listed_is_not_looked_for(path: str) -> None:
    async with asking(make_app()) as client:
        assert (await client.get(f"/docs/{path}")).status_code == 404


async def test_the_root_leads_to_the_page() -> None:
    async with asking(make_app()) as client:
        response = await client.get("/")
        assert response.status_code == 307
        assert (await client.get(response.headers["location"])).status_code == 200
        assert (await client.get("/favicon.ico", follow_redirects=True)).headers["content-type"] == "image/png"
