"""`live-memory healthcheck`: the standard library alone, because a container asks every few seconds."""

import json
import os
import sys
from http.client import HTTPException
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

DEFAULT_PORT = "8002"


def check(url: str | None, *, timeout: float) -> int:
    """0 when the service answers that it lives, else 1 and a sentence on standard error."""
    base = url or f"http://{_address()}"
    if not base.startswith(("http://", "https://")):
        sys.stderr.write("live-memory: the address must start with http:// or https://\n")
        return 2
    try:
        # A proxy of the environment must not stand between a container and itself.
        with build_opener(ProxyHandler({})).open(base.rstrip("/") + "/health", timeout=timeout) as response:
            is_healthy = json.load(response).get("status") == "healthy"
    except (URLError, HTTPException, OSError, ValueError, AttributeError) as error:
        sys.stderr.write(f"live-memory: {base} does not answer ({error})\n")
        return 1
    if not is_healthy:
        sys.stderr.write(f"live-memory: {base} is not healthy\n")
    return 0 if is_healthy else 1


def _address() -> str:
    host = os.environ.get("MCP_SERVER_HOST") or "127.0.0.1"
    if host in {"0.0.0.0", "::", "localhost"}:  # noqa: S104 - an address to recognise, not to listen on
        host = "127.0.0.1" if host != "::" else "::1"
    bracketed = f"[{host}]" if ":" in host else host
    return f"{bracketed}:{os.environ.get('MCP_SERVER_PORT') or DEFAULT_PORT}"
