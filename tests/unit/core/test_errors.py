import pytest

from app.core.errors import Invalid, InvalidSpaceID, Situation, StoreUnavailable, TooLarge, Unauthenticated
from app.core.problem import headers_of, problem_of, tool_error


def kinds(of: type[Situation]) -> list[type[Situation]]:
    return [kind for below in of.__subclasses__() for kind in (below, *kinds(below))]


@pytest.mark.parametrize("kind", [kind for kind in kinds(Situation) if kind.__module__ == "app.core.errors"])
def test_every_situation_has_a_code_a_number_and_a_sentence(kind: type[Situation]) -> None:
    assert kind.code().replace("_", "").isalnum()
    assert kind.code() == kind.code().lower()
    assert 400 <= kind.status < 600
    assert kind.__doc__
    assert kind().detail == kind.title()


def test_a_code_is_the_name_in_small_letters() -> None:
    assert InvalidSpaceID.code() == "invalid_space_id"
    assert TooLarge.code() == "too_large"
    assert TooLarge.status == 413
    assert issubclass(TooLarge, Invalid)


def test_a_refused_token_comes_with_a_challenge_and_an_outage_with_a_time() -> None:
    assert headers_of(Unauthenticated())["WWW-Authenticate"].startswith("Bearer")
    assert headers_of(StoreUnavailable())["Retry-After"] == "2"
    assert headers_of(StoreUnavailable(retry_after=9))["Retry-After"] == "9"


def test_a_tool_shows_the_same_problem_in_its_own_words() -> None:
    problem = problem_of(TooLarge("At most 8."), "r1")
    assert tool_error(problem, TooLarge.word) == {
        "status": "error",
        "code": "too_large",
        "message": "At most 8.",
        "details": {"request_id": "r1"},
    }
