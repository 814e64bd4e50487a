"""The page `/docs`: Swagger UI from files of our own, without a byte from another host."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from anyio import to_thread
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from app.core.routing import fresh

STATIC: Final = Path(__file__).parent / "static"
VENDORED: Final = STATIC / "swagger-ui"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that is served as it is."""

    path: Path
    media_type: str


ASSETS: Final = {
    "init.js": Asset(STATIC / "init.js", "text/javascript; charset=utf-8"),
    "swagger-ui-bundle.js": Asset(VENDORED / "swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    "swagger-ui.css": Asset(VENDORED / "swagger-ui.css", "text/css; charset=utf-8"),
    "favicon-32x32.png": Asset(VENDORED / "favicon-32x32.png", "image/png"),
}
"""The only files there are: a name that is not listed is not looked for."""


def manifest() -> dict[str, str | dict[str, str]]:
    """Where the vendored files come from, and the SHA-256 of each."""
    found: dict[str, str | dict[str, str]] = json.loads((VENDORED / "manifest.json").read_text(encoding="utf-8"))
    return found


def add_docs(app: FastAPI) -> None:
    """Serve the page, its files, the icon, and send `/` there."""

    async def page(_request: Request) -> Response:
        html = await to_thread.run_sync((STATIC / "docs.html").read_text, "utf-8")
        return HTMLResponse(html, headers={"Cache-Control": "no-cache"})

    def serving(asset: Asset) -> None:
        async def served(request: Request) -> Response:
            body = await to_thread.run_sync(asset.path.read_bytes)
            etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            headers = {"ETag": etag, "Cache-Control": "public, max-age=86400"}
            if fresh(request, etag):
                return Response(status_code=304, headers=headers)
            return Response(body, media_type=asset.media_type, headers=headers)

        app.add_route(f"/docs/{asset.path.name}", served, methods=["GET"], include_in_schema=False)

    async def icon(_request: Request) -> Response:
        return RedirectResponse("docs/favicon-32x32.png", status_code=307)

    async def home(_request: Request) -> Response:
        return RedirectResponse("docs", status_code=307)

    app.add_route("/", home, methods=["GET"], include_in_schema=False)
    app.add_route("/docs", page, methods=["GET"], include_in_schema=False)
    app.add_route("/favicon.ico", icon, methods=["GET"], include_in_schema=False)
    for asset in ASSETS.values():
        serving(asset)
