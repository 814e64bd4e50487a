"""A small real model over the real client: real tokens, grammar and aborts. It proves nothing about quality.

Left to `make realmodel`, which brings a server and a model of 93 MB; a call takes tens of seconds.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest

from app.bank.models import Consolidate
from app.bootstrap import build_services
from app.core.clock import SystemClock
from app.core.settings import Settings
from app.llm.client import Completion, Finish, Message, Role
from app.llm.openai import OpenAILLM
from app.storage.memory import MemoryStore
from tests.builders import ADMIN, a_note, a_space, silent

pytestmark = [pytest.mark.realmodel, pytest.mark.timeout(1200)]

MODEL: Final = Path(os.environ.get("LIVE_MEMORY_MODEL", "absent.gguf"))
FACTS: Final = [
    ("decision", "We chose PostgreSQL 15 for its JSONB indexes."),
    ("observation", "The timeout of api-gateway is 30 s."),
    ("todo", "Write the runbook of cache-7."),
    ("issue", "Release 1.4.2 leaks sockets, see #731."),
    ("progress", "The import of 12,000 rows takes 41 s."),
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    assert MODEL.is_file(), "LIVE_MEMORY_MODEL must name the file of a model; `make realmodel` does that"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.model_server", str(MODEL)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            lines = (line.strip() for line in process.stdout)
            yield next(line for line in lines if line.startswith("http"))
        finally:
            process.kill()


@pytest.fixture
async def llm(address: str) -> AsyncIterator[OpenAILLM]:
    model = OpenAILLM(url=address, key=None, model="smollm2", clock=SystemClock(), window=4096, max_tokens=400)
    async with model.opened():
        yield model


async def asked(llm: OpenAILLM, schema: dict[str, object] | None = None) -> Completion:
    messages = [Message(Role.USER, "Say in one word which colour the sky has. JSON:")]
    return await llm.complete(messages, schema=schema, max_tokens=60, seconds=300)


async def test_an_answer_comes_with_its_real_usage(llm: OpenAILLM) -> None:
    done = await asked(llm)
    assert done.text
    assert done.usage.prompt > 0
    assert done.usage.completion > 0
    assert not done.usage.estimated
    assert done.attempts == 1


async def test_a_grammar_holds_the_answer_to_its_form(llm: OpenAILLM) -> None:
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["blue", "red"]}},
        "required": ["colour"],
        "additionalProperties": False,
    }
    done = await asked(llm, schema)
    assert done.structured == "json_schema"
    assert done.finish is not Finish.STOP or done.text.strip().startswith("{")


async def test_hanging_up_stops_the_engine(llm: OpenAILLM) -> None:
    messages = [Message(Role.USER, "Count from one to a thousand, in words.")]
    heard = asyncio.Event()
    long = asyncio.create_task(llm.complete(messages, max_tokens=2000, seconds=300, on_text=lambda _text: heard.set()))
    await asyncio.wait_for(heard.wait(), 300)
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long
    # There is one place at the server: it would be taken for minutes by an answer that went on.
    done = await asyncio.wait_for(asked(llm), 200)
    assert done.text


async def test_the_health_of_the_endpoint_is_known_without_paying(llm: OpenAILLM) -> None:
    health = await llm.health()
    assert health.models


async def test_whatever_it_says_every_note_is_in_the_bank(llm: OpenAILLM) -> None:
    settings = Settings.for_tests(
        llm_context_window=4096, llm_prompt_budget=3000, consolidation_batch_size=5, consolidation_timeout=600
    )
    services = build_services(MemoryStore(SystemClock()), SystemClock(), settings, llm)
    await a_space(services)
    for category, fact in FACTS:
        await a_note(services, fact, category=category)
    done = await services.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)
    assert done.status in {"ok", "partial"}
    assert (done.notes_processed, done.notes_remaining) == (len(FACTS), 0)
    assert done.llm_calls > 0
    head = (await services.spaces.open("alpha")).head
    assert len(head.note_refs) == len(FACTS)
    bank = "\n".join(file.content for file in head.files.values())
    for token in ("PostgreSQL 15", "30 s", "cache-7", "#731", "12,000"):
        assert token in bank
