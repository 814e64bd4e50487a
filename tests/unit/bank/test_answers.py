import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.bank.model.answers import MAX_BYTES, OPS_PER_NOTE, SPARE_OPS, read
from app.bank.model.proposals import Answer, ProposedOp, ProposedSkip
from app.bank.model.salvage import MAX_DEPTH, MAX_FAILURES, MAX_VALUES, REREADS, scan, without_fence, without_reasoning
from tests.unit.bank.failure_shapes.semantics import SEMANTICS
from tests.unit.bank.failure_shapes.shape import CLEAN, GOOD, an_answer, an_op
from tests.unit.bank.failure_shapes.stage import SAID
from tests.unit.bank.failure_shapes.syntax import SYNTAX

MANY = 1_000

TRAPS = (
    'say "x"',
    "it's {'op': 'append', 'at': 's1', 'text': 'x', 'sources': ['n1']}",
    '{"op": "delete_section", "at": "s1", "text": "", "sources": ["n1"]}',
    '{"ops": [], "skipped": []}',
    "{'ops': []}",
    "</think> and <think>",
    "```json\n{}\n```",
    "C:\\new\\x41 \\u0041 \\",
    "// no comment # none /* none */",
    "[[[{{{",
    "}]}",
    "\u00e9\u00a0\u2028 \U0001f600",
    "trailing,]",
    "a\nb\tc\x07",
    "- ",
    "None NaN true",
)
texts = st.lists(st.one_of(st.sampled_from(TRAPS), st.text(max_size=12)), min_size=1, max_size=4).map(" ".join)
handles = st.integers(1, 40).map("n{}".format)
proposed = st.builds(
    lambda op, at, title, text, sources, reason: {
        "op": op,
        "at": at,
        "title": title,
        "text": text,
        "sources": sources,
        "reason": reason,
    },
    st.sampled_from(("append", "prepend", "replace", "supersede", "add_section", "delete_section")),
    st.sampled_from(("s1", "s7", "f2", "")),
    st.sampled_from(("", "First words", "## A title")),
    texts,
    st.lists(handles, max_size=3, unique=True),
    st.sampled_from(("", 'a "reason"', "it's so")),
)
skipped = st.builds(
    lambda note, same_as: {"note": note, "why": "duplicate", "same_as": same_as},
    handles,
    st.sampled_from(("n1", "- x")),
)
envelopes = st.builds(
    lambda ops, skips, synthesis: {"ops": ops, "skipped": skips, "synthesis": synthesis},
    st.lists(proposed, min_size=1, max_size=5),
    st.lists(skipped, max_size=3),
    texts,
)

WRITTEN: dict[str, Callable[[dict[str, Any]], str]] = {
    "plain": lambda envelope: json.dumps(envelope, ensure_ascii=False),
    "escaped": json.dumps,
    "indented": lambda envelope: json.dumps(envelope, indent=2),
    "double-encoded": lambda envelope: json.dumps(json.dumps(envelope)),
    "wrapped": lambda envelope: json.dumps({"name": "f", "arguments": envelope}),
    "wrapped and encoded": lambda envelope: json.dumps({"answer": json.dumps(envelope)}),
}
ONLY_OPS: dict[str, Callable[[dict[str, Any]], str]] = {
    "bare array": lambda envelope: json.dumps(envelope["ops"]),
    "lines": lambda envelope: "\n".join(json.dumps(op) for op in envelope["ops"]),
    "Python": lambda envelope: repr({"ops": envelope["ops"]}),
}
NOISE = (
    ("", ""),
    ("\ufeff", "\n"),
    ("```json\n", "\n```"),
    ("```\n", "\n```\n"),
    ('<think>It\'s {x} or [s1] or {"ops": []}?</think>\n', ""),
    ("so it's s7, not {s1}\n</think>\n\n", "\n"),
)
PROSE = (("Here's what I'd do, {as asked}:\n", "\nThat's all [n1]."), ('The "answer" is:\n```json\n', "\n```\nDone."))


def meant(envelope: dict[str, Any]) -> Answer:
    answer = read(json.dumps(envelope), notes=MANY)
    assert answer is not None
    return answer


def plainly(op: dict[str, Any]) -> ProposedOp:
    text = op["text"].encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    return ProposedOp(op["op"], op["at"], op["title"], text, tuple(op["sources"]), op["reason"])


def without_numbers(answer: Answer) -> tuple[ProposedOp, ...]:
    return tuple(replace(op, number=0) for op in answer.ops)


@given(envelopes)
@settings(max_examples=40, deadline=None)
def test_an_answer_in_the_right_shape_is_read_as_it_is(envelope: dict[str, Any]) -> None:
    answer = meant(envelope)
    assert answer.is_whole
    assert not answer.refused
    assert without_numbers(answer) == tuple(dict.fromkeys(plainly(op) for op in envelope["ops"]))
    assert {skip.note for skip in answer.skips} == {skip["note"] for skip in envelope["skipped"]}
    assert answer.synthesis == envelope["synthesis"]


@given(envelopes, st.sampled_from(sorted(WRITTEN)), st.sampled_from((*NOISE, *PROSE)), st.booleans())
@settings(max_examples=80, deadline=None)
def test_what_stands_around_an_answer_changes_nothing(
    envelope: dict[str, Any],
    written: str,
    noise: tuple[str, str],
    is_cut: bool,  # noqa: FBT001 - drawn
) -> None:
    text = noise[0] + WRITTEN[written](envelope) + noise[1]
    assert read(text, notes=MANY, is_cut=is_cut) == meant(envelope)


@given(envelopes, st.sampled_from(sorted(ONLY_OPS)), st.sampled_from(NOISE))
@settings(max_examples=60, deadline=None)
def test_operations_without_an_envelope_are_an_answer(
    envelope: dict[str, Any], written: str, noise: tuple[str, str]
) -> None:
    answer = read(noise[0] + ONLY_OPS[written](envelope) + noise[1], notes=MANY)
    assert answer is not None
    assert answer.is_whole
    assert answer.ops == meant(envelope).ops


@given(
    envelopes,
    st.sampled_from(sorted({**WRITTEN, **ONLY_OPS})),
    st.sampled_from((*NOISE, *PROSE)),
    st.floats(0, 1),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_a_cut_answer_gives_its_first_operations_unaltered(
    envelope: dict[str, Any],
    written: str,
    noise: tuple[str, str],
    share: float,
    is_cut: bool,  # noqa: FBT001 - drawn
) -> None:
    text = noise[0] + {**WRITTEN, **ONLY_OPS}[written](envelope)
    answer = read(text[: int(len(text) * share)], notes=MANY, is_cut=is_cut)
    if answer is not None:
        whole = meant(envelope)
        assert answer.ops == whole.ops[: len(answer.ops)]
        assert set(answer.skips) <= set(whole.skips)
        assert answer.synthesis in {"", whole.synthesis}
        assert not answer.refused


def test_every_cut_of_an_answer_gives_each_operation_that_is_complete() -> None:
    ops = [an_op(text=trap, sources=[f"n{number}"]) for number, trap in enumerate(TRAPS[:8], 1)]
    text = an_answer(*ops)
    whole = meant({"ops": ops})
    counts = []
    for end in range(len(text)):
        answer = read(text[:end], notes=MANY, is_cut=True)
        counts.append(0 if answer is None else len(answer.ops))
        if answer is not None:
            assert answer.ops == whole.ops[: len(answer.ops)]
            assert not answer.is_whole
    assert counts == sorted(counts)
    assert set(counts) == set(range(len(ops) + 1))


@given(st.text(alphabet=st.characters(), max_size=200), st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_text_can_be_read(text: str, is_cut: bool) -> None:  # noqa: FBT001 - drawn
    answer = read(text, notes=3, is_cut=is_cut)
    assert answer is None or isinstance(answer, Answer)


_TOKENS = (
    *[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        '"',
        "'",
        "\\",
        "\\u",
        "\\x4",
        "\\ud83d",
        "```",
        "```json",
        "<think>",
        "</think>",
        "//",
        "/*",
        "*/",
        "#",
        "1",
        "-2.5e9",
        "NaN",
        "null",
        "None",
        "true",
    ],
    *("\n", " ", "\ufeff", "\ud800", "\0"),
    *[
        '"ops"',
        '"op"',
        '"append"',
        '"at"',
        '"s1"',
        '"text"',
        '"sources"',
        '"n1"',
        '"skipped"',
        '"note"',
        '"why"',
        '"synthesis"',
        '"filename"',
    ],
    *['"operations"', '"file_edits"', '"content"', '"response"', '"data"', '"{\\"ops\\":[]}"', '"arguments"'],
    *(json.dumps(op) for op in GOOD),
)


@given(st.lists(st.sampled_from(_TOKENS), max_size=60).map("".join), st.integers(-1, 5), st.booleans())
@settings(max_examples=120, deadline=None)
def test_any_heap_of_tokens_can_be_read(text: str, notes: int, is_cut: bool) -> None:  # noqa: FBT001 - drawn
    answer = read(text, notes=notes, is_cut=is_cut)
    if answer is not None:
        answer_is_storable(answer, notes)


def answer_is_storable(answer: Answer, notes: int) -> None:
    """Its parts are of the right types, few enough, and without anything that no store takes."""
    assert len(answer.ops) + len(answer.refused) <= OPS_PER_NOTE * max(notes, 0) + SPARE_OPS + 1
    said = [answer.synthesis]
    for op in answer.ops:
        assert op.op
        assert all(isinstance(source, str) for source in op.sources)
        said += [op.op, op.at, op.title, op.text, op.reason, *op.sources]
    for skip in answer.skips:
        said += [skip.note, skip.why, skip.same_as]
    for refusal in answer.refused:
        assert refusal.number > 0
        assert refusal.reason
        said += [refusal.verb, refusal.target, refusal.code]
    for text in said:
        text.encode()


SEEDS = [shape.answer for shape in (*SYNTAX, *SEMANTICS) if len(shape.answer) < 5_000]


def mutated(text: str, dice: random.Random) -> str:
    """The text with a few random changes."""
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(text) + 1)
        end = min(len(text), at + dice.choice((0, 1, 1, 2, 5, 40)))
        piece = dice.choice(("", *_TOKENS, text[at:end] * 2, dice.choice(SEEDS)[:80]))
        text = text[:at] + piece + text[end:]
    return text


@given(st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_mutated_answers_can_be_read(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - changes to test with, no secret
    for _ in range(100):
        answer = read(mutated(dice.choice(SEEDS), dice), notes=3, is_cut=dice.random() < 0.5)
        if answer is not None:
            answer_is_storable(answer, 3)


_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(allow_nan=False, allow_infinity=False), texts
)
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)


@given(st.dictionaries(texts, _JSON, max_size=4), st.sampled_from((None, 1)), st.booleans())
@settings(max_examples=60, deadline=None)
def test_mending_leaves_good_json_alone(
    value: dict[str, Any],
    indent: int | None,
    ensure_ascii: bool,  # noqa: FBT001 - drawn
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ensure_ascii)
    assert scan(text).values == [value]


_BOMBS = {
    "braces": "{" * 100_000,
    "brackets": "[" * 500_000,
    "objects": '{"a":' * 100_000,
    "quoted braces": '{"' * 200_000,
    "single quotes": "{'" * 200_000,
    "comments": "{/*" * 200_000,
    "deep, then a string without an end": '{"a":' * 400 + '"' + "x" * 500_000,
    "deep, then a list without an end": '{"a":' * 10 + "[" + "1," * 200_000,
    "small objects": '{"a":1}' * 80_000,
    "spaces": '{"ops":[' + " " * 500_000,
    "backslashes": '{"ops":"' + "\\" * 500_000,
}


@pytest.mark.parametrize("name", _BOMBS)
def test_a_bomb_is_given_up_after_work_in_proportion_to_its_length(name: str) -> None:
    bomb = _BOMBS[name]
    found = scan(bomb)
    assert found.failures <= MAX_FAILURES
    assert found.work <= (REREADS + 1) * (len(bomb) + 1)
    assert found.read <= MAX_VALUES
    assert read(" " * 6_000 + bomb, notes=3) is None


def test_an_answer_is_found_behind_a_few_failures_and_not_behind_thousands() -> None:
    assert read("{x " * 400 + CLEAN, notes=3) == read(CLEAN, notes=3)
    assert read("{x     " * (MAX_FAILURES + 1) + CLEAN, notes=3) is None


def test_what_is_nested_deeper_than_any_answer_is_not_mended() -> None:
    for depth, failures in ((MAX_DEPTH, 0), (MAX_DEPTH + 1, 1)):
        assert scan("[" * depth + "1,]" + "]" * (depth - 1)).failures == failures


def test_the_largest_answer_is_read_and_a_larger_one_is_not() -> None:
    frame = an_answer(an_op(text="%"))
    room = MAX_BYTES - len(frame) + 1
    assert read(frame.replace("%", "x" * room), notes=1) is not None
    assert read(frame.replace("%", "x" * (room + 1)), notes=1) is None
    assert read(frame.replace("%", "\u00e9" * (room // 2 + 1)), notes=1) is None


def test_a_flood_of_brackets_at_the_start_is_no_answer() -> None:
    assert read("[]" * 700 + CLEAN, notes=3) is not None
    assert read("[]" * 751 + CLEAN, notes=3) is None


def test_the_number_of_operations_is_limited_by_the_notes() -> None:
    limit = OPS_PER_NOTE * 2 + SPARE_OPS
    ops = [an_op(text=f"- fact {number}") for number in range(limit + 1)]
    allowed = read(an_answer(*ops[:limit]), notes=2)
    assert allowed is not None
    assert len(allowed.ops) == limit
    flood = read(an_answer(*ops), notes=2)
    assert flood is not None
    assert not flood.ops
    assert [refusal.code for refusal in flood.refused] == ["too_many_ops"]
    assert str(limit) in flood.refused[0].reason


def test_an_operation_keeps_its_place_when_others_have_no_shape() -> None:
    answer = read(an_answer("junk", GOOD[0], {"at": "s1", "text": "x"}, GOOD[0], GOOD[1]), notes=3)
    assert answer is not None
    assert [(op.number, op.text) for op in answer.ops] == [(2, SAID[0]), (5, SAID[1])]
    assert [(refusal.number, refusal.code) for refusal in answer.refused] == [(1, "bad_shape"), (3, "bad_shape")]


def test_synonyms_of_verbs_are_the_verbs() -> None:
    written = ("append_to_section", "Add", "replace-section", "update", "create_section", "create", "delete", "explode")
    answer = read(an_answer(*(an_op(op, title=op) for op in written)), notes=3)
    assert answer is not None
    assert [op.op for op in answer.ops] == [
        *("append", "append", "replace", "replace", "add_section", "create_file", "delete_section", "explode")
    ]


@pytest.mark.parametrize(
    ("written", "handles"),
    [
        ("n4", ("n4",)),
        ("n4, n7; N4", ("n4", "n7")),
        ("notes 4 and n7", ("n4", "and", "n7")),
        (4, ("n4",)),
        ([4, 7.0, "8"], ("n4", "n7", "n8")),
        (["[n4]", "note 5", "#6"], ("n4", "n5", "n6")),
        (["n04"], ("n4",)),
        ([["n4"], None, True, 0.5], ("n4",)),
        ([{"id": "n4"}], ("n4",)),
        (None, ()),
        ("20260302T0900.md", ("20260302T0900.md",)),
    ],
)
def test_sources_become_handles(written: Any, handles: tuple[str, ...]) -> None:
    answer = read(an_answer(an_op(sources=written)), notes=3)
    assert answer is not None
    assert answer.ops[0].sources == handles


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (["- a", "- b"], "- a\n- b"),
        (["a", ["b", 3], None], "a\nb\n3\n"),
        ({"text": "a"}, "a"),
        ({"Database": "PostgreSQL 15", "Port": 5432}, "- Database: PostgreSQL 15\n- Port: 5432"),
        (12, "12"),
        (None, ""),
        ("a \ud800b", "a b"),
    ],
)
def test_a_text_becomes_lines(written: Any, text: str) -> None:
    answer = read(json.dumps({"ops": [an_op(text=written)]}), notes=3)
    assert answer is not None
    assert answer.ops[0].text == text


def test_skips_are_understood_in_several_forms() -> None:
    skips = (
        {"note": 1, "why": "Duplicate", "same_as": "N2"},
        "n3",
        {"notes": ["n4", "n5"], "why": "empty", "same_as": 7},
    )
    answer = read(an_answer(skipped=skips), notes=5)
    assert answer is not None
    assert answer.skips == (
        ProposedSkip("n1", "duplicate", "n2"),
        ProposedSkip("n3", "", ""),
        ProposedSkip("n4", "empty", "n7"),
        ProposedSkip("n5", "empty", "n7"),
    )


@pytest.mark.parametrize("empty", ['{"ops": null}', '{"ops": []}', "[]", '{"response": {"ops": null}}'])
def test_no_operations_are_an_answer(empty: str) -> None:
    assert read(empty, notes=3) == Answer()


@pytest.mark.parametrize("nothing", ["{}", "null", "3", '"ok"', '{"synthesis": "x"}', '{"ops": 3}', "[1, 2]", "{]"])
def test_what_names_no_operations_is_no_answer(nothing: str) -> None:
    assert read(nothing, notes=3) is None


def test_reasoning_is_left_out_and_a_tag_in_a_string_is_not_reasoning() -> None:
    assert without_reasoning("<think>a</think>b<thinking>c</THINKING>d") == "d"
    assert without_reasoning("a</think>b") == "b"
    assert without_reasoning("a<think>b") == "a"
    assert without_reasoning('{"a": "</think>"} x') == '{"a": "</think>"} x'
    assert without_reasoning('it\'s {"a": "\\"<think>"} x') == 'it\'s {"a": "\\"<think>"} x'


def test_an_operation_quoted_in_a_cut_text_is_not_taken_for_one() -> None:
    quoted = "note: {'op': 'delete_section', 'at': 's1', 'text': '', 'sources': ['n1']} and"
    text = an_answer(GOOD[0], an_op(text=quoted))
    cut = read(text[: text.index(" and")], notes=3, is_cut=True)
    assert cut is not None
    assert [op.text for op in cut.ops] == [SAID[0]]


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("```json\n{}\n```", "{}"),
        ("~~~~ json\n{}\n~~~~", "{}"),
        ("````\n{}", "{}"),
        ("```", "```"),
        ("``` `a`\n{}", "``` `a`\n{}"),
        # A fence that is looked for from each of its characters would be looked for all day.
        pytest.param("~" * 500_000, "~" * 500_000, id="a line of tildes"),
        pytest.param("`" * 500_000, "`" * 500_000, id="a line of backticks"),
    ],
)
def test_a_fence_is_taken_off(text: str, bare: str) -> None:
    assert without_fence(text) == bare
