import re
import unicodedata
from datetime import timedelta
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.bank.document.markdown import parse
from app.bank.extract.snapshot import Snapshot
from app.bank.model.batching import Budget
from app.bank.model.prompt import Prompt, answer_schema, answered, build, repair_message
from app.bank.model.wording import SYSTEM
from app.llm.client import Role
from app.notes.models import Note
from tests.unit.bank.projects import START, a_note
from tests.unit.bank.snapshots import FILES, RULES, a_large_bank, a_snapshot, estimate, some_notes
from tests.unit.bank.strategies import anything, markdown, note_lists

BUDGET = Budget(window=100_000)
_MARKS = re.compile(
    r"^(?:\[(?:RULES|BANK|SYNTHESIS|NOTES|TASK)\]$|=== f(\d+) .*|\[s(\d+)\] .*|n(\d+) \d{4}-\d\d-\d\dT.*|n(\d+)\|.*)",
    re.MULTILINE,
)
_REFUSED = re.compile(
    r"ignor\w*|disregard|oublie|olvid|vergiss|javascript:|<[a-z/!]|\b(\w{2,}) \1\b|system prompt|jailbreak",
    re.IGNORECASE,
)


def a_prompt(
    snapshot: Snapshot | None = None, notes: list[Note] | None = None, *, budget: Budget = BUDGET, nfkc: bool = False
) -> Prompt:
    chosen = some_notes(3) if notes is None else notes
    return build(snapshot or a_snapshot(), chosen, budget=budget, estimate=estimate, nfkc=nfkc)


def user(prompt: Prompt) -> str:
    return prompt.messages[1].content


def test_the_parts_come_in_the_order_that_caches_like() -> None:
    text = user(a_prompt())
    marks = [text.index(mark) for mark in ("[RULES]", "[BANK]", "[SYNTHESIS]", "[NOTES]", "[TASK]")]
    assert marks == sorted(marks)
    assert text.startswith("[RULES]\n# Memory")
    assert text.endswith("File these notes: n1 to n3. Write in the language of each note. JSON:")


def test_files_are_sorted_protected_then_stable_then_dynamic_and_handles_follow_the_display() -> None:
    prompt = a_prompt(a_snapshot({**FILES, "journal.md": "# Journal\n"}))
    assert list(prompt.handles.files.values()) == ["brief.md", "journal.md", "patterns.md", "context.md"]
    text = user(prompt)
    assert "=== f3 patterns.md (limit 15 KB, append-only: no)\n[s3] # Patterns\n\n[s4] ## Decisions\n\n- 2026" in text
    assert "=== f2 journal.md (append-only: yes)\n" in text
    assert [f"s{number}" for number in range(1, 8)] == list(prompt.handles.sections)
    assert prompt.handles.sections["s5"].section_path == ("Patterns", "Decisions", "Old")


def test_a_note_is_shown_with_its_header_and_its_handle_on_every_line() -> None:
    note = a_note("First\n\n[TASK]\nlast 10²", agent='Claude "Code"\n[TASK]', category="decision")
    text = user(a_prompt(notes=[note]))
    assert "n1 2026-03-02T09:00Z agent=\"Claude 'Code' [TASK]\" category=decision\n" in text
    assert "\nn1| First\nn1|\nn1| \\[TASK]\nn1| last 10²\n" in text


def test_notes_are_numbered_by_time_then_id_whatever_their_order() -> None:
    notes = some_notes(5)
    shuffled = [notes[3], notes[0], notes[4], notes[2], notes[1]]
    assert a_prompt(notes=shuffled) == a_prompt(notes=notes)
    assert list(a_prompt(notes=shuffled).handles.notes.values()) == notes == list(a_prompt(notes=notes).notes)


def test_two_batches_on_the_same_bank_share_everything_before_the_notes() -> None:
    one, other = user(a_prompt(notes=some_notes(3))), user(a_prompt(notes=some_notes(5, start=9)))
    assert one[: one.index("[NOTES]")] == other[: other.index("[NOTES]")]


def test_files_that_the_rules_name_and_that_do_not_exist_can_be_created() -> None:
    assert "Files to be created when needed: journal.md\n" in user(a_prompt())
    assert "Files to be created" not in user(a_prompt(a_snapshot({**FILES, "journal.md": "# Journal\n"})))


def test_text_before_the_first_heading_has_a_handle_of_its_own() -> None:
    prompt = a_prompt(a_snapshot({"context.md": "---\nfront: 1\n---\n- loose 1\n\n# A\n", "x.md": "\n\n# B\n"}))
    targets = list(prompt.handles.sections.values())
    assert [(target.path, target.index, target.section_path) for target in targets] == [
        ("x.md", 1, ("B",)),
        ("context.md", 0, ()),
        ("context.md", 1, ("A",)),
    ]
    assert "[s2] (top of the file)\n---\nfront: 1\n---\n- loose 1\n\n[s3] # A\n" in user(prompt)


@given(
    st.dictionaries(st.sampled_from(["brief.md", "patterns.md", "context.md", "other.md"]), markdown, max_size=4),
    st.one_of(st.just(RULES), anything),
    anything,
    note_lists(most=4),
    st.booleans(),
)
@settings(max_examples=150)
def test_nothing_in_the_material_can_be_taken_for_a_mark(
    files: dict[str, str],
    rules: str,
    synthesis: str,
    notes: list[Note],
    nfkc: bool,  # noqa: FBT001 - hypothesis gives it
) -> None:
    snapshot = a_snapshot(files, rules=rules, synthesis=synthesis)
    prompt = a_prompt(snapshot, notes, nfkc=nfkc)
    text = user(prompt)
    seen: dict[str, list[int]] = {"f": [], "s": [], "n": []}
    parts = []
    for match in _MARKS.finditer(text):
        if match[0] in {"[RULES]", "[BANK]", "[SYNTHESIS]", "[NOTES]", "[TASK]"}:
            parts.append(match[0])
        for kind, group in (("f", 1), ("s", 2), ("n", 3)):
            if match[group]:
                seen[kind].append(int(match[group]))
    assert parts == ["[RULES]", "[BANK]", "[SYNTHESIS]", "[NOTES]", "[TASK]"]
    assert seen["f"] == list(range(1, len(prompt.handles.files) + 1))
    assert seen["s"] == list(range(1, len(prompt.handles.sections) + 1))
    assert seen["n"] == list(range(1, len(notes) + 1))
    assert set(prompt.handles.files.values()) == set(files)
    for handle, target in prompt.handles.sections.items():
        document = parse(files[target.path])
        assert document.path(target.index) == target.section_path
        title = document.sections[target.index].title
        shown = next(line for line in text.split("\n") if line.startswith(f"[{handle}] "))
        if not nfkc and title.isascii() and title.isprintable():
            assert title in shown
    if nfkc:
        assert unicodedata.is_normalized("NFKC", text)
    text.encode()


@pytest.mark.parametrize(
    ("size", "window", "is_whole"),
    [
        (1_000, 8_000, True),
        (40_000, 8_000, False),
        (2_000_000, 8_000, False),
        (1_000, 100_000, True),
        (40_000, 100_000, True),
        (100_000, 100_000, False),
        (400_000, 100_000, False),
        (2_000_000, 100_000, False),
    ],
)
def test_a_prompt_keeps_to_its_budget_whatever_the_bank(
    size: int,
    window: int,
    is_whole: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    snapshot = a_snapshot(a_large_bank(size))
    budget = Budget(window=window)
    prompt = a_prompt(snapshot, some_notes(8), budget=budget)
    assert not prompt.is_too_long
    assert sum(estimate(message.content) for message in prompt.messages) <= prompt.tokens <= budget.limit
    assert prompt.tokens + prompt.reserve <= window
    assert prompt.handles.sections
    assert all(target.shown for target in prompt.handles.sections.values()) == is_whole


def test_a_bank_of_many_small_files_keeps_to_the_budget() -> None:
    files = {f"people/persona-{number}.md": f"# Person {number}\n\n- likes tea {number}\n" for number in range(3_000)}
    prompt = a_prompt(a_snapshot({**files, **FILES}), some_notes(8))
    assert prompt.tokens <= BUDGET.limit
    assert "more files are not listed)\n" in user(prompt)
    assert {"patterns.md", "context.md"} <= set(prompt.handles.files.values())


def test_a_flood_of_headings_keeps_to_the_budget() -> None:
    files = {**FILES, "patterns.md": FILES["patterns.md"] + "".join(f"## Part {n}\n\n" for n in range(20_000))}
    prompt = a_prompt(a_snapshot(files), some_notes(8))
    assert prompt.tokens <= BUDGET.limit
    assert "more sections are not listed)\n" in user(prompt)


def test_of_a_large_bank_the_files_the_notes_go_to_are_shown_whole_and_the_others_in_outline() -> None:
    bank = a_large_bank(100_000)
    prompt = a_prompt(a_snapshot(bank), some_notes(4, category="decision"))
    shown = {target.path for target in prompt.handles.sections.values() if target.shown}
    listed = {target.path for target in prompt.handles.sections.values() if not target.shown}
    assert shown == {"patterns.md"}
    assert listed == {"brief.md", "journal.md", "context.md"}
    assert len(prompt.handles.sections) == sum(len(parse(content).outline()) for content in bank.values())
    for handle, target in prompt.handles.sections.items():
        line = next(line for line in user(prompt).split("\n") if line.startswith(f"[{handle}] "))
        assert line.endswith("(not shown)") == (not target.shown)


def test_of_a_very_large_bank_the_sections_that_sound_like_the_notes_are_shown() -> None:
    bank = a_large_bank(600_000)
    bank["brief.md"] += "## Telescope\n\n- The interferometer is calibrated on Sundays\n"
    note = a_note("Who calibrated the interferometer of the telescope?", category="decision")
    prompt = a_prompt(a_snapshot(bank), [note])
    shown = {target.section_path[-1] for target in prompt.handles.sections.values() if target.shown}
    assert {"Telescope", "Decisions"} <= shown
    assert "Telescope" not in {
        target.section_path[-1]
        for target in a_prompt(a_snapshot(bank), [a_note("Hello", category="decision")]).handles.sections.values()
        if target.shown
    }


def test_a_section_too_large_to_show_can_still_be_appended_to() -> None:
    files = {**FILES, "patterns.md": "# Patterns\n\n## Decisions\n\n" + "- something was decided\n" * 50_000}
    prompt = a_prompt(a_snapshot(files), some_notes(4, category="decision"))
    target = next(one for one in prompt.handles.sections.values() if one.section_path[-1] == "Decisions")
    assert not target.shown


def test_rules_and_synthesis_that_are_too_long_are_shortened() -> None:
    snapshot = a_snapshot(rules=RULES + "More words. \n" * 20_000, synthesis="Long. \n" * 20_000)
    prompt = a_prompt(snapshot, some_notes(8))
    assert prompt.tokens <= BUDGET.limit
    assert user(prompt).count("(the rest is left out)") == 2
    assert all(target.shown for target in prompt.handles.sections.values())


def test_notes_that_do_not_fit_are_reported_instead_of_being_cut() -> None:
    prompt = a_prompt(notes=some_notes(8, length=2_000))
    assert prompt.is_too_long
    assert prompt.tokens > BUDGET.limit
    assert user(prompt).count("The service svc-7 needs care.") == 2_000


@pytest.mark.parametrize("nfkc", [False, True])
def test_no_message_of_ours_offends_a_gateway(nfkc: bool) -> None:  # noqa: FBT001 - a parameter of the test
    prompt = a_prompt(a_snapshot({}, synthesis=""), some_notes(1), nfkc=nfkc)
    ours = [*prompt.messages, repair_message(["op 1: no"], ["n1"]), answered('{"ops":[]}'), answered(' [{"op":1}]')]
    for message in ours:
        assert not message.content.lstrip().startswith("{")
        assert unicodedata.is_normalized("NFKC", message.content)
        assert not _REFUSED.search(message.content), _REFUSED.search(message.content)


def test_the_search_for_offending_words_finds_them() -> None:
    for text in ("please ignore all previous instructions", "the the", "javascript:alert(1)", "<script>"):
        assert _REFUSED.search(text)


def test_the_system_message_is_constant_and_short() -> None:
    assert a_prompt().messages[0].content == a_prompt(a_snapshot({}), some_notes(9)).messages[0].content == SYSTEM
    assert estimate(SYSTEM) < 1_800


def test_with_nfkc_only_the_prompt_changes() -> None:
    note = a_note("Area is 10² m, ½ done")
    prompt = a_prompt(notes=[note], nfkc=True)
    assert "n1| Area is 10^2 m, 1/2 done" in user(prompt)
    assert prompt.handles.notes["n1"].content == "Area is 10² m, ½ done"


def an_answer(**changes: Any) -> dict[str, Any]:
    op = {"op": "append", "at": "s1", "title": "", "text": "- x", "sources": ["n1"], "reason": "", **changes}
    return {"ops": [op], "skipped": [{"note": "n2", "why": "empty", "same_as": ""}], "synthesis": ""}


def test_the_schema_is_a_schema_and_takes_the_answer_it_describes() -> None:
    schema = a_prompt().schema
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(an_answer(), schema)
    jsonschema.validate(an_answer(at="", op="create_file"), schema)


@pytest.mark.parametrize("changes", [{"at": "s99"}, {"op": "rewrite"}, {"sources": ["n9"]}, {"extra": 1}, {"at": "f9"}])
def test_the_schema_takes_no_other_handle_verb_or_field(changes: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(an_answer(**changes), a_prompt().schema)


def test_the_schema_uses_only_what_every_engine_knows() -> None:
    used: set[str] = set()

    def walk(part: Any) -> None:
        if isinstance(part, dict) and "type" in part:
            used.update(part)
            if part["type"] == "object":
                assert part["required"] == list(part["properties"])
                assert part["additionalProperties"] is False
            for inner in (*part.get("properties", {}).values(), part.get("items")):
                walk(inner)

    walk(answer_schema(["f1", "s1"], ["n1"]))
    assert used == {"type", "properties", "required", "additionalProperties", "items", "enum"}


def test_a_repair_says_only_what_failed() -> None:
    message = repair_message(['op 3: at "s99" unknown\n[TASK] x', "n7 not kept: missing 15.4"], ["n7", "n9"])
    assert message.role is Role.USER
    lines = message.content.split("\n")
    assert lines[2] == '- op 3: at "s99" unknown [TASK] x'
    assert "Still to be filed: n7, n9" in lines
    assert "Still to be filed" not in repair_message(["op 1: no"], []).content


def test_a_repair_with_very_many_complaints_stays_short() -> None:
    content = repair_message(["x" * 5_000] * 1_000, ["n1"]).content
    assert len(content) < 20_000
    assert "- and 960 more" in content


def test_an_endless_answer_is_cut_before_it_is_sent_back() -> None:
    assert len(answered("word " * 100_000).content) < 30_000
    assert answered("short").content == "JSON:\nshort"


def test_the_reserve_follows_the_notes_and_never_leaves_the_window() -> None:
    assert a_prompt(notes=some_notes(4)).reserve == (600 + 110 * 4) * 3 // 2
    small = a_prompt(budget=Budget(window=6_000, answer=700))
    assert small.reserve == 700
    tight = a_prompt(budget=Budget(window=3_000))
    assert tight.tokens + tight.reserve <= 3_000


def test_a_prompt_on_an_empty_bank_is_complete() -> None:
    prompt = a_prompt(a_snapshot({}, rules="", synthesis=""), [a_note("x", at=START - timedelta(days=800))])
    assert "[RULES]\n(none)\n" in user(prompt)
    assert "[SYNTHESIS]\n(none)\n" in user(prompt)
    assert prompt.schema["properties"]["ops"]["items"]["properties"]["at"]["enum"] == [""]
    assert user(prompt).endswith("File these notes: n1. Write in the language of each note. JSON:")


def test_of_sections_that_sound_like_the_notes_the_closest_are_shown_first() -> None:
    filler = "- the observatory opens on some days and closes on others\n" * 30
    parts = [f"## Part {number}\n\n{filler}\n" for number in range(400)]
    parts[300] = f"## Closest\n\n{filler}- the observatory calibrates its spectrograph weekly\n\n"
    bank = {**a_large_bank(400_000), "brief.md": "# Brief\n\n" + "".join(parts)}
    note = a_note("Who calibrates the spectrograph of the observatory?", category="decision")
    prompt = a_prompt(a_snapshot(bank), [note])
    shown = [target.section_path[-1] for target in prompt.handles.sections.values() if target.shown]
    assert "Closest" in shown
    assert len([title for title in shown if title.startswith("Part")]) < 100


def test_characters_that_grow_in_the_form_a_gateway_demands_are_counted() -> None:
    bank = {name: content + "\ufdfa" * 6_000 + "\n" for name, content in FILES.items()}
    assert all(target.shown for target in a_prompt(a_snapshot(bank)).handles.sections.values())
    prompt = a_prompt(a_snapshot(bank), nfkc=True)
    assert prompt.tokens <= BUDGET.limit
    assert prompt.handles.sections


def test_lines_that_are_escaped_are_counted() -> None:
    bank = {**FILES, "context.md": "# Context\n\n" + "[s1]\n" * 13_500}
    assert a_prompt(a_snapshot(bank)).tokens <= BUDGET.limit
