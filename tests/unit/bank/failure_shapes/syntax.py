"""Shapes 1 to 35: how an answer is written."""

import json
from typing import Any, Final

from tests.unit.bank.failure_shapes.shape import CLEAN, GOOD, Shape, an_answer, an_op
from tests.unit.bank.failure_shapes.stage import SAID

_PIECES: Final = [json.dumps(op) for op in GOOD]
_ENVELOPE: Final = json.loads(CLEAN)
_ALL: Final = ("n1", "n2", "n3")


def _cut_after(text: str, *, more: int = 0) -> str:
    """The clean answer up to a text and a little more."""
    return CLEAN[: CLEAN.index(text) + len(text) + more]


def _with_text(text: str) -> str:
    """The clean answer with another first text, which stands in it as it is given."""
    return CLEAN.replace(json.dumps(SAID[0]), f'"{text}"')


def _edits(*operations: Any) -> str:
    edit = {"filename": "context.md", "action": "edit", "operations": operations}
    return json.dumps({"file_edits": [edit], "synthesis": "Billing moves."})


_SHOWN: Final = "- 2026-03-02 The billing database is PostgreSQL 15.4 now: `</think>` and `{x}`"
_QUOTED: Final = f"{SAID[0]}: it's \"so\"\n  \u00ab\u00a0{{'x'}}\u00a0\u00bb"
_OPENED: Final = "- 2026-03-02 The billing database is PostgreSQL 15.4 now:\n```\n{json}\n```"

SYNTAX: Final = (
    Shape(1, "clean", CLEAN, kept=_ALL),
    Shape(2, "json fence", f"```json\n{CLEAN}\n```", kept=_ALL),
    Shape(2, "json fence, never closed", f"```json\n{CLEAN}", kept=_ALL),
    Shape(3, "bare fence", f"```\n{CLEAN}\n```\n", kept=_ALL),
    Shape(3, "fence inside a text, no fence around", an_answer(an_op(text=_OPENED)), texts=(_OPENED,)),
    Shape(3, "fence inside a text, and around", f"```json\n{an_answer(an_op(text=_OPENED))}\n```", texts=(_OPENED,)),
    Shape(
        4, "prose around", f"Here's the \"answer\" you asked for:\n\n{CLEAN}\n\nLet me know if it's fine.", kept=_ALL
    ),
    Shape(4, "prose and a fence", f"Sure.\n```json\n{CLEAN}\n```\nDone: 3 notes.", kept=_ALL),
    Shape(5, "braces in prose", f'I use {{op}} as in {{"at": s4}} and [s4]:\n{CLEAN}\n(see {{ops}})', kept=_ALL),
    Shape(5, "an open brace in prose", f"First a {{ and then the answer: {CLEAN}", kept=_ALL),
    Shape(6, "closed think", f'<think>n1 goes to {{s4}}. {{"ops": []}} is wrong.</think>\n{CLEAN}', kept=_ALL),
    Shape(6, "closed think, tag in a text", f"<think>a</think>{an_answer(an_op(text=_SHOWN))}", texts=(_SHOWN,)),
    Shape(6, "no think, tag in a text, prose around", f"So: {an_answer(an_op(text=_SHOWN))}", texts=(_SHOWN,)),
    Shape(
        6,
        "no think, tag in a text, cut after it",
        an_answer(an_op(text=_SHOWN), *GOOD[1:])[:-120],
        "salvage",
        texts=(_SHOWN, SAID[1]),
        is_cut=True,
    ),
    Shape(7, "orphan think", f'The user wants {{"ops": []}}.\nn1 -> s4.\n</think>\n\n{CLEAN}', kept=_ALL),
    Shape(8, "unclosed think", f"<think>I could answer {CLEAN}", "repair"),
    Shape(8, "unclosed think after prose", f"Let me see. <think>\n{CLEAN}", "repair"),
    Shape(9, "only reasoning", f"<think>I could answer {CLEAN}</think>", "repair"),
    Shape(9, "only reasoning, without JSON", "<think>n1 goes to s4, n2 to s2.</think>\n", "repair"),
    Shape(10, "cut in a string", _cut_after("The export job"), "salvage", texts=SAID[:2], kept=_ALL[:2], is_cut=True),
    Shape(10, "cut in a string, not reported", _cut_after("The export job"), "salvage", texts=SAID[:2], kept=_ALL[:2]),
    Shape(10, "cut in the sources", _cut_after('"n3"'), "salvage", texts=SAID[:2], kept=_ALL[:2], is_cut=True),
    Shape(10, "cut in the synthesis", _cut_after("Billing"), "salvage", kept=_ALL, is_cut=True),
    Shape(
        11, "cut between operations", _cut_after("}, ", more=0), "salvage", texts=SAID[:1], kept=_ALL[:1], is_cut=True
    ),
    Shape(11, "cut after the operations", _cut_after('"skipped"'), "salvage", kept=_ALL, is_cut=True),
    Shape(12, "cut in the first", _cut_after("PostgreSQL"), "repair", is_cut=True),
    Shape(12, "cut in the first, its text whole", _cut_after('"n1"'), "repair", is_cut=True),
    Shape(13, "trailing commas", CLEAN.replace("}", ", }").replace('"]', '",\n]'), kept=_ALL),
    Shape(14, "Python repr", repr(_ENVELOPE), kept=_ALL),
    Shape(
        14,
        "Python repr, mixed quotes",
        repr({**_ENVELOPE, "ops": [an_op(sources=["n1"], text=_QUOTED), None]}),
        texts=(_QUOTED,),
        codes=("bad_shape",),
        kept=("n1",),
    ),
    Shape(15, "raw newline", _with_text("- one\n- two"), texts=("- one\n- two", *SAID[1:])),
    Shape(16, "control characters", _with_text("- a\tb\x07 c"), texts=("- a\tb\x07 c", *SAID[1:])),
    Shape(17, "unescaped quotes", _with_text('- the "billing" database'), "salvage", texts=SAID[1:], kept=_ALL[1:]),
    Shape(
        18,
        "invalid escapes",
        _with_text(r"- C:\billing \d+ \é"),
        texts=(r"- C:\billing \d+ \é".replace("\\b", "\b"), *SAID[1:]),
    ),
    Shape(
        19,
        "comments",
        CLEAN.replace('{"ops": [', '{ // what to do\n"ops": [ # one\n').replace(
            '"skipped"', '/* none, "really" */ "skipped"'
        ),
        kept=_ALL,
    ),
    Shape(20, "answered twice", f"{an_answer(GOOD[0])}\nWait, better:\n{CLEAN}", kept=_ALL),
    Shape(20, "answered twice, the second cut", f"{CLEAN}\n{CLEAN[:200]}", kept=_ALL, is_cut=True),
    Shape(21, "NDJSON", "\n".join(_PIECES), kept=_ALL),
    Shape(21, "NDJSON with a synthesis", "\n".join([*_PIECES, '{"skipped": [], "synthesis": "x"}']), kept=_ALL),
    Shape(21, "NDJSON, cut", "\n".join(_PIECES)[:-9], "salvage", texts=SAID[:2], kept=_ALL[:2], is_cut=True),
    Shape(22, "bare array", json.dumps(GOOD), kept=_ALL),
    Shape(22, "bare array in a fence", f"```json\n{json.dumps(GOOD)}\n```", kept=_ALL),
    Shape(22, "bare array, cut", json.dumps(GOOD)[:-9], "salvage", texts=SAID[:2], kept=_ALL[:2], is_cut=True),
    Shape(23, "double-encoded", json.dumps(CLEAN), kept=_ALL),
    Shape(23, "double-encoded in a fence", f"```\n{json.dumps(CLEAN)}\n```", kept=_ALL),
    Shape(23, "double-encoded, cut", json.dumps(CLEAN)[:-140], "salvage", texts=SAID[:2], kept=_ALL[:2], is_cut=True),
    Shape(23, "operations double-encoded", json.dumps({"ops": json.dumps(GOOD), "skipped": []}), kept=_ALL),
    Shape(24, "wrapped", json.dumps({"response": {"result": _ENVELOPE}}), kept=_ALL),
    Shape(24, "wrapped in a list", json.dumps([_ENVELOPE]), kept=_ALL),
    Shape(24, "wrapped, encoded", json.dumps({"data": CLEAN}), kept=_ALL),
    Shape(25, "BOM and ZWSP", "\ufeff\u200b" + CLEAN.replace(", ", ",\u200b ") + "\u200b\n", kept=_ALL),
    Shape(26, "smart quotes", CLEAN.replace('"', "\u201d"), "repair"),
    Shape(27, "None and NaN", CLEAN.replace('"title": ""', '"title": None, "x": NaN, "y": True'), kept=_ALL),
    Shape(28, "duplicate keys", CLEAN.replace('"skipped"', '"ops": [], "skipped"'), kept=_ALL),
    Shape(28, "duplicate keys, null last", CLEAN.replace('"skipped"', '"ops": null, "skipped"'), kept=_ALL),
    Shape(28, "duplicate keys, the short first", CLEAN.replace('{"ops"', '{"ops": [1], "ops"', 1), kept=_ALL),
    Shape(29, "whitespace flood", '{"ops": [' + "\n \t" * 2_000, "repair", is_cut=True),
    Shape(
        29,
        "whitespace flood after an operation",
        _cut_after("}, ") + " \n" * 2_000,
        "salvage",
        texts=SAID[:1],
        is_cut=True,
    ),
    Shape(
        30,
        "repetition loop in a text",
        f'{{"ops": [{_PIECES[0]}, {{"op": "append", "at": "s4", "text": "{"and so on " * 300}',
        "salvage",
        texts=SAID[:1],
        kept=_ALL[:1],
        is_cut=True,
    ),
    Shape(
        30,
        "repetition loop of operations",
        f'{{"ops": [{", ".join(_PIECES[:2] * 200)}, {{"op": "app',
        "salvage",
        texts=SAID[:2],
        kept=_ALL[:2],
        is_cut=True,
    ),
    Shape(
        31,
        "tool call",
        f"<tool_call>\n{json.dumps({'name': 'file_notes', 'arguments': _ENVELOPE})}\n</tool_call>",
        kept=_ALL,
    ),
    Shape(
        31,
        "tool call, arguments encoded",
        json.dumps([{"type": "function", "function": {"name": "file_notes", "arguments": CLEAN}}]),
        kept=_ALL,
    ),
    Shape(32, "refusal", "I'm sorry, but I can't help with that {request}.", "repair"),
    Shape(33, "empty", "", "repair"),
    Shape(33, "blank", " \n\ufeff\n", "repair"),
    Shape(
        34,
        "HTML page",
        '<!DOCTYPE html><html><head><script>var a = {"ops": b}; f([1, {"x": 2}]);</script>'
        "<style>p { color: red }</style></head><body><h1>502 Bad Gateway</h1></body></html>",
        "repair",
    ),
    Shape(
        35,
        "predecessor's format",
        _edits(
            {"type": "append_to_section", "heading": "## Next steps", "content": SAID[2]},
            {"type": "add_section", "heading": "## Exports", "content": SAID[2], "after": "## Next steps"},
        ),
        "salvage",
        texts=(SAID[2], SAID[2]),
        codes=("no_sources", "no_sources"),
    ),
    Shape(
        35,
        "predecessor's format, cut",
        _edits(*({"type": "append_to_section", "heading": "## Next steps", "content": said} for said in SAID))[:-120],
        "salvage",
        texts=SAID[:2],
        codes=("no_sources", "no_sources"),
        is_cut=True,
    ),
    Shape(
        35,
        "predecessor's format, whole files",
        json.dumps(
            {"bank_files": [{"filename": "journal.md", "content": SAID[1], "action": "updated"}], "synthesis": ""}
        ),
        "salvage",
        texts=(SAID[1],),
        codes=("unknown_op",),
    ),
)
