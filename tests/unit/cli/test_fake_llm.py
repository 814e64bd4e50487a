"""The scripted endpoint, seen from outside: by a client that knows nothing of ours."""

import asyncio
import json
import signal
import sys

import httpx
import pytest
import typer
from typer.testing import CliRunner

from app.cli.fake_command import fake_llm
from app.cli.fake_llm import FakeEndpoint, nothing
from app.cli.fake_moods import SENTENCES, Mood

PROMPT = {"model": "fake", "messages": [{"role": "user", "content": "hello"}], "stream": True}
cli = typer.Typer()
cli.command()(fake_llm)
cli.command("other")(lambda: None)


def test_every_mood_has_its_sentence() -> None:
    assert set(SENTENCES) == set(Mood)
    assert len(Mood) >= 30


def test_the_command_lists_what_it_knows() -> None:
    result = CliRunner().invoke(cli, ["fake-llm", "--list"])
    assert result.exit_code == 0
    assert "perfect" in result.output
    assert all(mood.value in result.output for mood in Mood)


@pytest.mark.parametrize("arguments", [["--mood", "plain,sunny"], ["--author", "shakespeare"]])
def test_the_command_refuses_what_it_does_not_know(arguments: list[str]) -> None:
    result = CliRunner().invoke(cli, ["fake-llm", *arguments])
    assert result.exit_code == 2
    assert "sunny" in result.output or "shakespeare" in result.output


async def test_a_port_in_use_is_said_in_one_sentence() -> None:
    async with FakeEndpoint().serving() as url:
        port = str(httpx.URL(url).port)
        result = await asyncio.to_thread(CliRunner().invoke, cli, ["fake-llm", "--port", port])
    assert result.exit_code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in result.output


async def test_the_command_serves_until_it_is_interrupted() -> None:
    code = "import typer; from app.cli.fake_command import fake_llm; typer.run(fake_llm)"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-c", code, "--port", "0", "--author", "nothing", "--mood", "503"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        said = (await process.stdout.readline()).decode()
        url = said.split()[0].removeprefix("LLMAAS_API_URL=")
        async with httpx.AsyncClient(trust_env=False) as client:
            first = await client.post(f"{url}/chat/completions", json=PROMPT)
            second = await client.post(f"{url}/chat/completions", json=PROMPT)
        process.send_signal(signal.SIGINT)
        _, complaints = await process.communicate()
    assert (first.status_code, second.status_code) == (503, 200)
    assert second.text.endswith("data: [DONE]\n\n")
    assert (process.returncode, complaints) == (0, b"")


async def test_requests_are_remembered_and_the_author_sees_the_conversation() -> None:
    seen: list[object] = []

    def author(messages: list[dict[str, str]], schema: dict[str, object] | None) -> str:
        seen.append((messages, schema))
        return "answer"

    endpoint = FakeEndpoint(author=author)
    schema = {"type": "object"}
    body = {**PROMPT, "response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
    async with endpoint.serving() as url, httpx.AsyncClient(trust_env=False) as client:
        await client.post(f"{url}/chat/completions", json=body, headers={"Authorization": "Bearer x"})
    assert seen == [(PROMPT["messages"], schema)]
    received = endpoint.requests[0]
    assert (received.body, received.headers["authorization"], received.mood) == (body, "Bearer x", Mood.PLAIN)
    assert not received.gone.is_set()


async def test_it_lists_its_model_and_nothing_else() -> None:
    endpoint = FakeEndpoint(model="small", window=4096)
    async with endpoint.serving() as url, httpx.AsyncClient(trust_env=False) as client:
        listed = (await client.get(f"{url}/models")).json()["data"]
        missing = await client.get(f"{url}/embeddings")
    assert [(model["id"], model["max_model_len"]) for model in listed] == [("small", 4096)]
    assert missing.status_code == 404
    assert (len(endpoint.listings), endpoint.requests) == (1, [])


@pytest.mark.parametrize(
    "raw",
    [b"", b"nonsense\r\n\r\n", b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 9\r\n\r\n{", b"x" * 100_000,
     b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: minus\r\n\r\n",
     b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 2\r\n\r\n{{"],
)  # fmt: skip
async def test_who_does_not_speak_its_language_does_not_stop_it(raw: bytes) -> None:
    endpoint = FakeEndpoint()
    async with endpoint.serving() as url, asyncio.timeout(20):
        address = httpx.URL(url)
        assert address.port is not None
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(raw)
        writer.write_eof()
        await reader.read()
        writer.close()
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.post(f"{url}/chat/completions", json=PROMPT)).status_code == 200


async def test_the_end_of_serving_does_not_wait_for_a_client_that_stays() -> None:
    endpoint = FakeEndpoint([Mood.SILENCE])
    async with asyncio.timeout(20):
        async with endpoint.serving() as url, httpx.AsyncClient(trust_env=False) as client:
            call = asyncio.create_task(client.post(f"{url}/chat/completions", json=PROMPT))
            await endpoint.asked.wait()
        with pytest.raises(httpx.TransportError):
            await call


def test_the_answer_without_an_author_is_valid_and_does_nothing() -> None:
    assert json.loads(nothing([], None)) == {"ops": [], "skipped": [], "synthesis": ""}
