"""What the service promises of a bank, whatever the model does; and that the figures would show a broken promise."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from app.bank.models import Consolidate
from app.bootstrap import build_services
from app.cli.fake_authors import INVENTED
from app.core.settings import Settings
from app.llm.scripted import ScriptedLLM
from app.storage.memory import MemoryStore
from tests.builders import ADMIN, a_caller, a_note, a_space, silent
from tests.eval import playing
from tests.eval.memories import JOURNALS, MEMORIES, NARROW, Memory
from tests.eval.metrics import alive, measure
from tests.eval.playing import AUTHORS, Bank, Played, objects, play, trespasses
from tests.eval.story import START, Story, a_story
from tests.fakes.clock import FrozenClock

ROUNDS, SIZE = 6, 12


def a_project(seed: int) -> Story:
    return a_story(seed, rounds=ROUNDS, size=SIZE)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("author", list(AUTHORS))
async def test_nothing_is_lost_and_nothing_invented_whatever_the_model_does(author: str, seed: int) -> None:
    story = a_project(seed)
    played = await play(story, MEMORIES[seed % len(MEMORIES)], AUTHORS[author])
    found = measure(story, played)
    assert not played.waiting
    assert (found.notes, found.lost, found.invented, found.unsafe) == (ROUNDS * SIZE, 0, 0, 0)
    assert played.trespasses == []
    assert found.traced == 1
    assert [alive(story, played, rounds)[0] for rounds in (1, ROUNDS)] == [1, 1]


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize("memory", MEMORIES, ids=lambda memory: memory.name)
async def test_with_a_good_model_the_bank_says_what_is_so(memory: Memory, seed: int) -> None:
    story = a_project(seed)
    found = measure(story, await play(story, memory, AUTHORS["perfect"]))
    assert found.current >= 0.98
    assert found.stale <= 0.02
    assert found.tasks >= 0.98
    assert found.routed >= 0.98
    assert found.dedupe_precision >= 0.98
    assert found.dedupe_recall >= 0.9
    assert found.provenance >= 0.98
    assert found.false_not_kept <= 0.05
    assert found.growth <= 1.7


async def test_a_file_that_is_full_goes_on_being_kept_by_the_model() -> None:
    story = a_project(1)
    narrow = replace(MEMORIES[0], rules=NARROW)
    played = await play(story, narrow, AUTHORS["perfect"])
    found = measure(story, played)
    assert len(played.bank.files["activeContext.md"]) > 1.5 * 3072, "more is so than there is room for"
    assert (played.refused, played.repairs) == (Counter(), 0)
    assert (found.lost, found.current, found.tasks, found.traced) == (0, 1, 1, 1)
    assert found.extracted <= 0.05


@pytest.mark.parametrize("author", ["perfect", "hostile", "lying"])
async def test_a_model_that_keeps_files_short_loses_and_invents_nothing_by_it(author: str) -> None:
    story = a_project(1)
    narrow = replace(MEMORIES[0], rules=NARROW)
    played = await play(story, narrow, AUTHORS[author], compact_over=1.5)
    found = measure(story, played)
    assert len(played.bank.files["activeContext.md"]) <= 1.5 * 3072
    assert (found.lost, found.invented, found.unsafe, found.current, found.traced) == (0, 0, 0, 1, 1)
    assert played.trespasses == []


async def test_without_a_model_the_latest_values_are_live_and_each_note_is_where_the_rules_say() -> None:
    story = a_project(5)
    found = measure(story, await play(story, MEMORIES[1], None))
    assert (found.current, found.routed, found.traced, found.extracted) == (1, 1, 1, 1)


def changed(played: Played, files: Mapping[str, str]) -> Bank:
    return Bank({**played.bank.files, **files}, played.bank.provenance)


@pytest.fixture(scope="module")
def whole() -> tuple[Story, Played]:
    """A project that a good model has kept."""
    story = a_project(1)
    return story, asyncio.run(play(story, MEMORIES[1], AUTHORS["perfect"]))


def the_file_with(played: Played, text: str) -> tuple[str, str]:
    return next((path, content) for path, content in played.bank.files.items() if text in content)


def test_a_fact_that_is_taken_out_of_the_bank_is_found_missing(whole: tuple[Story, Played]) -> None:
    story, played = whole
    value = next(values[-1][1] for values in story.facts.values())
    path, content = the_file_with(played, value)
    kept = "".join(line for line in content.splitlines(keepends=True) if value not in line)
    found = measure(story, played, changed(played, {path: kept}))
    assert found.lost >= 1
    assert found.current < measure(story, played).current
    assert found.traced < 1


@pytest.mark.parametrize(
    "line",
    [
        "- 2026-03-02 The billing queue limit is gateway-99.99\n",
        "- 2030-01-01 Nothing happened\n",
        "- Everybody agreed that elephants never forget\n",
    ],
)
def test_an_invented_entry_is_found(whole: tuple[Story, Played], line: str) -> None:
    story, played = whole
    path, content = next(iter(played.bank.files.items()))
    assert measure(story, played).invented == 0
    assert measure(story, played, changed(played, {path: content + line})).invented == 1


@pytest.mark.parametrize("invented", INVENTED)
def test_an_invented_sentence_is_found_in_a_true_entry_and_in_the_synthesis(
    whole: tuple[Story, Played], invented: str
) -> None:
    story, played = whole
    value = next(values[-1][1] for values in story.facts.values())
    path, content = the_file_with(played, value)
    lines = [f"{line}. {invented}" if value in line else line for line in content.split("\n")]
    found = measure(story, played, changed(played, {path: "\n".join(lines)}))
    assert found.invented == sum(value in line for line in content.split("\n"))
    preached = Bank(played.bank.files, played.bank.provenance, f"{played.bank.synthesis}\n- {invented}")
    assert measure(story, played).invented == 0
    assert measure(story, played, preached).invented == 1


def test_prose_that_is_taken_out_of_the_bank_is_found_missing(whole: tuple[Story, Played]) -> None:
    story, played = whole
    told = next(told for told in story.notes if told.kind == "prose")
    path, content = the_file_with(played, told.content)
    kept = "".join(line for line in content.splitlines(keepends=True) if told.content not in line)
    assert measure(story, played, changed(played, {path: kept})).lost == 1


def test_a_number_that_was_changed_is_found(whole: tuple[Story, Played]) -> None:
    story, played = whole
    value = next(values[-1][1] for values in story.facts.values())
    path, content = the_file_with(played, value)
    found = measure(story, played, changed(played, {path: content.replace(value, f"{value}7")}))
    assert found.invented >= 1
    assert found.lost >= 1


def test_a_former_value_that_is_live_again_is_found(whole: tuple[Story, Played]) -> None:
    story, played = whole
    subject, values = next((subject, values) for subject, values in story.facts.items() if len(values) > 1)
    path, content = next(iter(played.bank.files.items()))
    assert measure(story, played).stale == 0
    stale = changed(played, {path: f"{content}- 2026-03-02 {subject} = {values[0][1]}\n"})
    assert measure(story, played, stale).stale > 0


def test_a_task_that_is_shown_wrongly_is_found(whole: tuple[Story, Played]) -> None:
    story, played = whole
    task = next(iter({**story.open_tasks, **story.done_tasks}.values()))
    path, content = the_file_with(played, task)
    lines = [line for line in content.splitlines(keepends=True) if task not in line]
    mark = " " if task in story.done_tasks.values() else "x"
    lines.append(f"- [{mark}] 2026-03-02 {task}\n")
    assert measure(story, played).tasks == 1
    assert measure(story, played, changed(played, {path: "".join(lines)})).tasks < 1


@pytest.mark.parametrize(
    "line", ['- <script src="x"></script>\n', "- [a](javascript:b)\n", "- key AKIAIOSFODNN7EXAMPLE\n"]
)
def test_live_markup_and_secrets_are_found(whole: tuple[Story, Played], line: str) -> None:
    story, played = whole
    path, content = next(iter(played.bank.files.items()))
    assert measure(story, played, changed(played, {path: content + line})).unsafe == 1


def test_wrong_citations_and_places_are_found(whole: tuple[Story, Played]) -> None:
    story, played = whole
    everything = sorted({note for blocks in played.bank.provenance.values() for ids in blocks.values() for note in ids})
    cites_all = {path: dict.fromkeys(blocks, everything) for path, blocks in played.bank.provenance.items()}
    found = measure(story, played, Bank(played.bank.files, cites_all))
    assert found.provenance < 0.5
    assert found.dedupe_precision < 0.5
    moved = {f"x{path}": content for path, content in played.bank.files.items()}
    found = measure(story, played, Bank(moved, {f"x{path}": blocks for path, blocks in played.bank.provenance.items()}))
    assert (found.routed, found.lost) == (0, 0)


@pytest.mark.parametrize(
    "key",
    [
        f"{playing.SPACE}/_rules.md",
        f"{playing.NEIGHBOUR}/_bank.json",
        f"{playing.NEIGHBOUR}/bank/progress.md",
        "_system/tokens.json",
        f"{playing.SPACE}/bank/evil.md",
        f"{playing.SPACE}/bank/archive/evil.md",
    ],
)
async def test_an_object_that_changes_outside_the_allowed_files_is_found(key: str) -> None:
    store = MemoryStore(FrozenClock(START))
    before = await objects(store)
    await store.put(f"{playing.SPACE}/_bank.json", b"{}")
    await store.put(f"{playing.SPACE}/bank/progress.md", b"# Progress\n")
    assert trespasses(MEMORIES[1], before, await objects(store)) == []
    await store.put(key, b"changed")
    assert trespasses(MEMORIES[1], before, await objects(store)) == [key]


async def routes(rules: str, contents: Sequence[str]) -> dict[str, set[str]]:
    """Where a good model puts notes that are all of one moment: text, then files."""
    clock = FrozenClock(START)
    played = Played(MEMORIES[0])
    author = AUTHORS["perfect"]
    assert author is not None
    services = build_services(
        MemoryStore(clock), clock, Settings.for_tests(), ScriptedLLM(playing.written_by(author, played), clock=clock)
    )
    async with services.runner.opened():
        await a_space(services, rules=rules)
        for content in contents:
            category, _, text = content.partition(" ")
            await a_note(services, text, category=category, caller=a_caller("ana"))
        await services.bank.consolidate("alpha", Consolidate(), caller=ADMIN, progress=silent)
        files = (await services.bank.open("alpha")).head.files
    texts = [content.partition(" ")[2] for content in contents]
    return {text: {path for path, file in files.items() if text in file.content} for text in texts}


NOTES = (
    "observation The cache holds 512 keys",
    "decision We keep Valkey 8 for the sessions",
    "todo Write the guide of cache-7",
    "insight Retries of 30 s hide the fault",
    "question Who owns port 8443?",
    "progress Release 1.4.2 went out",
    "issue Crash at src/app.py:42",
)


async def test_notes_of_one_moment_go_to_the_same_files_in_whatever_order_they_came() -> None:
    assert await routes(JOURNALS, NOTES) == await routes(JOURNALS, NOTES[::-1])


async def test_renaming_the_files_of_the_rules_renames_the_files_of_the_bank() -> None:
    renamed = JOURNALS.replace("activeContext.md", "present.md").replace("decisions.md", "choices.md")
    names = {"activeContext.md": "present.md", "decisions.md": "choices.md", "progress.md": "progress.md"}
    before, after = await routes(JOURNALS, NOTES), await routes(renamed, NOTES)
    assert {text: {names[path] for path in paths} for text, paths in before.items()} == after


async def test_a_note_about_something_else_moves_no_other_note() -> None:
    before = await routes(JOURNALS, NOTES)
    after = await routes(JOURNALS, [*NOTES, "insight Rain on 2026-03-01 slowed nobody down"])
    assert {text: paths for text, paths in after.items() if text in before} == before


def test_a_project_is_the_same_for_the_same_seed_and_holds_all_that_is_to_be_tried() -> None:
    story = a_story(1)
    assert story == a_story(1)
    assert story.notes != a_story(2).notes
    kinds = {told.kind for told in story.notes}
    assert kinds == {"fact", "update", "todo", "done", "noise", "prose", "copy", "hostile", "secret"}
