"""An answer of an operation, as the result of a tool call."""

import base64
import json
from typing import Final

from mcp import types as t

from app.api.inprocess import Answer
from app.mcp.errors import IGNORED_META, Failures

_SUCCESS: Final = range(200, 300)
_JSON: Final = "application/json"


def result_of(answer: Answer, *, tool: t.Tool, failures: Failures, ignored: tuple[str, ...]) -> t.CallToolResult:
    """The result a client gets: for JSON, the very text of the REST body, and the same object beside it."""
    if answer.status not in _SUCCESS:
        return failures.of_answer(answer.status, answer.headers, answer.body, ignored=ignored)
    structured = json.loads(answer.body) if tool.output_schema is not None else None
    meta = {IGNORED_META: list(ignored)} if ignored else None
    return t.CallToolResult(content=[_content(answer, tool.name)], structured_content=structured, _meta=meta)


def _content(answer: Answer, name: str) -> t.ContentBlock:
    kind = answer.media_type
    if not answer.body:
        return t.TextContent(type="text", text=f"HTTP {answer.status}")
    if kind.startswith("image/"):
        return t.ImageContent(type="image", data=_base64(answer.body), mime_type=kind)
    if kind.startswith("audio/"):
        return t.AudioContent(type="audio", data=_base64(answer.body), mime_type=kind)
    if kind == _JSON or kind.startswith("text/"):
        return t.TextContent(type="text", text=answer.body.decode())
    blob = t.BlobResourceContents(uri=f"memory://results/{name}", mime_type=kind, blob=_base64(answer.body))
    return t.EmbeddedResource(type="resource", resource=blob)


def _base64(body: bytes) -> str:
    return base64.b64encode(body).decode("ascii")
