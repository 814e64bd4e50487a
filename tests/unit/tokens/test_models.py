import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.core.identity import Everywhere, Only, Permission
from app.tokens.models import (
    Token,
    TokenCreate,
    TokenUpdate,
    hash_of,
    may_be_token,
    new_token,
    rights_of,
    shown_hash,
    spaces_of,
)

TOKEN = new_token()


def test_a_new_token_has_57_characters_and_no_two_are_equal() -> None:
    made = {new_token() for _ in range(200)}

    assert len(made) == 200
    assert all(re.fullmatch(r"lm_live_[0-9A-Za-z]{49}", text) for text in made)
    assert all(may_be_token(text) for text in made)


@given(position=st.integers(0, 56), character=st.sampled_from("0123456789ABCXYZabcxyz_-"))
def test_a_token_with_one_wrong_character_is_no_token(position: int, character: str) -> None:
    mistyped = TOKEN[:position] + character + TOKEN[position + 1 :]

    assert may_be_token(mistyped) is (mistyped == TOKEN)


SHAPES = {
    "empty": "",
    "no more than a prefix": "lm_",
    "cut": TOKEN[:-1],
    "longer": TOKEN + "0",
    "with a line feed": TOKEN + "\n",
    "accents": "lm_" + "é" * 43,
    "old, longer": "lm_" + "a" * 44,
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES.keys())
def test_other_texts_are_no_tokens(text: str) -> None:
    assert not may_be_token(text)


def test_a_token_of_the_old_shape_is_looked_up_without_checksum() -> None:
    assert may_be_token("lm_" + "aB3-_" * 8 + "xyz")


def test_a_hash_is_shown_with_13_digits_and_three_dots() -> None:
    assert re.fullmatch(r"sha256:[0-9a-f]{13}\.\.\.", shown_hash(hash_of(TOKEN)))


def test_comma_lists_are_trimmed_and_say_each_thing_once() -> None:
    request = TokenCreate(name="one", permissions=" write, read,,write ", space_ids="b, a,,b")

    assert rights_of(request.permissions) == [Permission.WRITE, Permission.READ]
    assert spaces_of(request.space_ids) == ["b", "a"]


@pytest.mark.parametrize("text", ["", "*"])
def test_an_empty_list_of_spaces_or_a_star_means_all(text: str) -> None:
    assert spaces_of(TokenCreate(name="one", permissions="read", space_ids=text).space_ids) == "*"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "   "),
        ("name", "x" * 65),
        ("name", "two\nlines"),
        ("name", "bell\x07"),
        ("name", "nul\x00"),
        ("name", "\ud800"),
        ("name", "evil\u202egnp"),
        ("name", 7),
        ("permissions", ""),
        ("permissions", " , "),
        ("permissions", "all"),
        ("permissions", "read,public"),
        ("permissions", "Read"),
        ("space_ids", ","),
        ("space_ids", " "),
        ("space_ids", "a,../b"),
        ("space_ids", "_system"),
        ("space_ids", "*,a"),
        ("space_ids", "x" * 65),
        ("expires_in_days", -1),
        ("expires_in_days", 36_501),
        ("expires_in_days", "soon"),
        ("expires", 3),
    ],
)
def test_a_token_that_makes_no_sense_is_refused_and_the_field_is_named(field: str, value: object) -> None:
    good: dict[str, object] = {"name": "one", "permissions": "read", "space_ids": "a", "expires_in_days": 1}
    TokenCreate.model_validate(good)

    with pytest.raises(ValidationError) as refusal:
        TokenCreate.model_validate(good | {field: value})

    assert [error["loc"] for error in refusal.value.errors()] == [(field,)]


@pytest.mark.parametrize(
    ("field", "value"),
    [("permissions", ","), ("permissions", "all"), ("space_ids", ","), ("space_ids", "a b"), ("name", "other")],
)
def test_a_change_that_makes_no_sense_is_refused(field: str, value: str) -> None:
    TokenUpdate.model_validate({})

    with pytest.raises(ValidationError):
        TokenUpdate.model_validate({field: value})


def test_a_stored_token_tells_who_presents_it() -> None:
    limited = Token(
        hash=hash_of(TOKEN),
        name="one",
        permissions=[Permission.READ],
        spaces=["a"],
        created_at="2026-01-31T12:00:00Z",
    )

    assert limited.caller().reach == Only(frozenset({"a"}))
    assert limited.caller().credential == hash_of(TOKEN)
    assert limited.model_copy(update={"spaces": "*"}).caller().reach == Everywhere()


@pytest.mark.parametrize(
    "difference",
    [
        {"spaces": []},
        {"spaces": "a"},
        {"spaces": None},
        {"permissions": ["public"]},
        {"permissions": "read"},
        {"expires_at": "tomorrow"},
        {"hash": "sha256:xyz"},
        {"revoked": "perhaps"},
    ],
)
def test_a_stored_token_that_is_damaged_is_not_understood(difference: dict[str, object]) -> None:
    good: dict[str, object] = {
        "hash": hash_of(TOKEN),
        "name": "one",
        "permissions": ["read"],
        "spaces": "*",
        "created_at": "2026-01-31T12:00:00+00:00",
    }
    Token.model_validate(good)

    with pytest.raises(ValidationError):
        Token.model_validate(good | difference)
