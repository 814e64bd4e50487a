from pathlib import Path
from typing import Any

import httpx
import pytest

from app.cli.fake_llm import FakeEndpoint
from app.cli.findings import Finding, Verdict
from app.cli.model_checks import model
from app.core.settings import Settings

KEY = "sk-a-key-that-is-never-shown"


def settings(**changed: Any) -> Settings:
    chosen = {"llmaas_api_url": "http://models.example/v1", "llmaas_api_key": KEY, "llmaas_model": "qwen", **changed}
    return Settings.for_tests(**chosen)


def found(answer: httpx.Response | Exception, **changed: Any) -> Finding:
    def respond(request: httpx.Request) -> httpx.Response:
        assert (request.method, str(request.url)) == ("GET", "http://models.example/v1/models"), "which costs nothing"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        if isinstance(answer, Exception):
            raise answer
        return answer

    finding = model(settings(**changed), httpx.MockTransport(respond))
    assert KEY not in finding.detail + finding.advice
    return finding


def listing(*models: dict[str, Any]) -> httpx.Response:
    return httpx.Response(200, json={"object": "list", "data": list(models)})


def test_no_model_is_well_and_said_clearly() -> None:
    finding = model(settings(llmaas_api_url=""))
    assert finding.verdict is Verdict.OK
    assert "none is configured" in finding.detail
    assert "word for word" in finding.detail


def test_a_model_that_is_there_is_well() -> None:
    finding = found(listing({"id": "other"}, {"id": "qwen", "max_model_len": 32768}))
    assert finding.verdict is Verdict.OK
    assert finding.detail == (
        "models.example has 'qwen' and takes the key; its window is 32,768 tokens, of which 32,768 are used"
    )
    assert "LLM_CONTEXT_WINDOW says 100,000" in found(listing({"id": "qwen"})).detail
    assert "20,000 are used" in found(listing({"id": "qwen", "max_model_len": 32768}), llm_context_window=20_000).detail


@pytest.mark.parametrize(
    ("answer", "verdict", "said", "advice"),
    [
        (httpx.ConnectError("Connection refused"), Verdict.PROBLEM, "cannot be reached", "LLMAAS_API_URL"),
        (httpx.ReadTimeout("timed out"), Verdict.PROBLEM, "cannot be reached (timed out)", "LLMAAS_API_URL"),
        (httpx.Response(401, json={}), Verdict.PROBLEM, "does not accept the key", "LLMAAS_API_KEY"),
        (httpx.Response(403, text=f"no: {KEY}"), Verdict.PROBLEM, "does not accept the key", "LLMAAS_API_KEY"),
        (listing({"id": "a"}, {"id": "b"}), Verdict.PROBLEM, "has no 'qwen'; it has 'a', 'b'", "LLMAAS_MODEL"),
        (listing(), Verdict.PROBLEM, "it has none", "LLMAAS_MODEL"),
        (httpx.Response(404, text="nothing"), Verdict.WARNING, "does not list its models (404)", "/v1"),
        (httpx.Response(200, text="<html>"), Verdict.WARNING, "does not list its models (200)", "/v1"),
        (httpx.Response(503), Verdict.PROBLEM, "answers 503", "Look at the endpoint"),
    ],
)
def test_what_is_wrong_is_said_with_advice(
    answer: httpx.Response | Exception, verdict: Verdict, said: str, advice: str
) -> None:
    finding = found(answer)
    assert finding.verdict is verdict
    assert said in finding.detail
    assert advice in finding.advice


def test_many_other_models_are_not_all_listed() -> None:
    finding = found(listing(*({"id": f"m{number}"} for number in range(9))))
    assert "'m4' and 4 more" in finding.detail


def test_an_address_or_a_file_that_cannot_be_used_is_a_problem(tmp_path: Path) -> None:
    assert model(settings(llmaas_api_url="http://user:word@models.example")).verdict is Verdict.PROBLEM
    (tmp_path / "ca.pem").write_text("no certificate", encoding="utf-8")
    assert model(settings(llm_ca_file=tmp_path / "ca.pem")).verdict is Verdict.PROBLEM


async def test_the_scripted_endpoint_is_asked_for_its_models_only() -> None:
    import asyncio  # noqa: PLC0415 - the look itself is a blocking one

    endpoint = FakeEndpoint()
    async with endpoint.serving() as url:
        finding = await asyncio.to_thread(model, settings(llmaas_api_url=url, llmaas_model="fake"))
    assert finding.verdict is Verdict.OK
    assert (len(endpoint.listings), len(endpoint.requests)) == (1, 0)
