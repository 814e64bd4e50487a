"""What `live-memory doctor` asks the model's endpoint, without ever paying for it: what it offers."""

import ssl
from collections.abc import Sequence
from typing import Final

import httpx

from app.cli.findings import Finding, ok, problem, warning
from app.core.settings import Settings
from app.llm.endpoint import Endpoint
from app.llm.listing import Listing

TIMEOUT: Final = 10.0
NONE: Final = "none is configured: notes are filed word for word, which needs no model (LLMAAS_API_URL names one)"
_CHECK: Final = "model"
_SHOWN: Final = 5
"""Names of other models that are shown."""
_ADDRESS: Final = "Check LLMAAS_API_URL, and LLM_CA_FILE when the endpoint has a certificate of its own."
_LISTED: Final = "Let LLMAAS_API_URL end where the API begins, as in https://models.example/v1."


def model(settings: Settings, transport: httpx.BaseTransport | None = None) -> Finding:
    """Whether the endpoint answers, accepts the key and has the model, and how much that takes at once."""
    if not settings.llmaas_api_url:
        return ok(_CHECK, NONE)
    try:
        endpoint = Endpoint(settings.llmaas_api_url, settings.llmaas_api_key)
        with httpx.Client(
            headers=endpoint.headers(),
            timeout=TIMEOUT,
            trust_env=False,
            follow_redirects=False,
            verify=_trusted(settings),
            transport=transport,
        ) as client:
            answer = client.get(endpoint.at("/models"))
    except ValueError as fault:
        return problem(_CHECK, str(fault), "Correct LLMAAS_API_URL or LLMAAS_API_KEY.")
    except (httpx.TransportError, httpx.DecodingError, OSError) as error:
        return problem(_CHECK, f"{_host(settings)} cannot be reached ({_reason(error)})", _ADDRESS)
    return _judged(settings, endpoint, answer)


def _judged(settings: Settings, endpoint: Endpoint, answer: httpx.Response) -> Finding:
    if answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        said = "does not accept the key" if settings.llmaas_api_key else "wants a key"
        return problem(_CHECK, f"{endpoint.host} {said} ({answer.status_code})", "Correct LLMAAS_API_KEY.")
    if answer.is_server_error:
        return problem(_CHECK, f"{endpoint.host} answers {answer.status_code}", "Look at the endpoint and its proxy.")
    listing = Listing.read(answer.content) if answer.is_success else None
    if listing is None:
        # Some gateways have the model and do not tell.
        return warning(_CHECK, f"{endpoint.host} does not list its models ({answer.status_code})", _LISTED)
    found = listing.find(settings.llmaas_model)
    if found is None:
        detail = f"{endpoint.host} has no '{settings.llmaas_model}'; it has {_names(listing.names)}"
        return problem(_CHECK, detail, "Let LLMAAS_MODEL name one of its models.")
    return ok(
        _CHECK, f"{endpoint.host} has '{settings.llmaas_model}' and takes the key; {_window(settings, found.window)}"
    )


def _window(settings: Settings, told: int | None) -> str:
    if told is None:
        return f"it does not tell its window, LLM_CONTEXT_WINDOW says {settings.llm_context_window:,} tokens"
    used = min(told, settings.llm_context_window)
    return f"its window is {told:,} tokens, of which {used:,} are used"


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_SHOWN])
    left = len(names) - _SHOWN
    return f"{shown} and {left} more" if left > 0 else shown or "none"


def _trusted(settings: Settings) -> ssl.SSLContext | bool:
    if settings.llm_ca_file is None:
        return True
    context = ssl.create_default_context()
    context.load_verify_locations(settings.llm_ca_file)
    return context


def _host(settings: Settings) -> str:
    return httpx.URL(settings.llmaas_api_url).host


def _reason(error: Exception) -> str:
    return str(error).lower() or type(error).__name__
