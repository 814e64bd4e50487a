import pytest

from app.storage.keys import InvalidKey, check_key, check_prefix, folders_of, is_listable


@pytest.mark.parametrize("key", ["a", "a/b", "é" * 127, "x" * 255, "/".join(["y" * 127] * 8), "...", ".a", "a b", "~"])
def test_a_legal_key_is_returned_as_it_is(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize(
    "key",
    [
        "", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", ".store", "a/.store/b",
        "a\\b", "\x00", "a\x1f", "\x7f", "\udc80",
    ],
)  # fmt: skip
def test_an_illegal_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidKey):
        check_key(key)


def test_lengths_are_counted_in_bytes() -> None:
    check_key("é" * 127)
    with pytest.raises(InvalidKey):
        check_key("é" * 128)
    check_key("/".join(["é" * 64] * 7 + ["x" * 121]))
    with pytest.raises(InvalidKey):
        check_key("/".join(["é" * 64] * 7 + ["x" * 122]))


@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/b", ".", "..", ".store", "a/.."])
def test_a_prefix_may_end_in_the_middle_of_a_segment(prefix: str) -> None:
    assert check_prefix(prefix) == prefix


@pytest.mark.parametrize("prefix", ["/", "../", "a//", ".store/", "a/./", "\x00", "x" * 1025])
def test_a_prefix_of_no_legal_key_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidKey):
        check_prefix(prefix)


def test_the_folders_of_a_key_are_told_outermost_first() -> None:
    assert list(folders_of("a/b/c")) == ["a", "a/b"]
    assert list(folders_of("a")) == []


@pytest.mark.parametrize(("name", "listable"), [("a", True), (".keep", True), (".store", False), ("a\\b", False)])
def test_a_listing_hides_names_no_key_can_have(name: str, *, listable: bool) -> None:
    assert is_listable(name) is listable
