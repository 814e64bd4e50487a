import pytest
from structlog.testing import capture_logs

from app.api.problems import invalid
from tests.unit.api.edge_app import AS_READER, AS_WRITER, asking, assert_problem, make_app

THINGS = "/api/v1/spaces/alpha/things"


async def test_a_situation_is_answered_with_its_own_number_and_detail() -> None:
    async with asking(make_app(), **AS_WRITER) as client:
        problem = assert_problem(await client.post(THINGS, json={"name": "busy"}), 409, "thing_busy")
    assert problem["title"] == "Somebody holds the thing."
    assert problem["detail"] == "The thing 'busy' is held."


async def test_every_wrong_field_is_named_without_the_part_of_the_request_it_came_in() -> None:
    async with asking(make_app(), **AS_WRITER) as client:
        body = {"name": "", "size": 11, "handles": [{"length": "long"}]}
        problem = assert_problem(await client.post(THINGS, json=body), 422, "invalid_input")
    assert [error["field"] for error in problem["errors"]] == ["name", "size", "handles.0.length"]


async def test_a_body_with_only_unknown_fields_too_many_says_so() -> None:
    async with asking(make_app(), **AS_WRITER) as client:
        response = await client.post(THINGS, json={"name": "cup", "colour": "red"})
        problem = assert_problem(response, 422, "unknown_field")
        assert [error["field"] for error in problem["errors"]] == ["colour"]
        assert_problem(await client.post(THINGS, json={"size": 1, "colour": "red"}), 422, "invalid_input")


@pytest.mark.parametrize("space", ["-alpha", "a" * 65, "a b", "é", "a.b"])
async def test_a_malformed_space_id_has_a_code_of_its_own(space: str) -> None:
    async with asking(make_app(), **AS_WRITER) as client:
        problem = assert_problem(await client.get(f"/api/v1/spaces/{space}/things"), 422, "invalid_space_id")
    assert problem["errors"][0]["field"] == "space_id"


async def test_a_query_argument_out_of_range_is_an_invalid_input() -> None:
    async with asking(make_app(), **AS_WRITER) as client:
        problem = assert_problem(await client.get(THINGS, params={"limit": 6}), 422, "invalid_input")
    assert problem["errors"][0]["field"] == "limit"


async def test_a_missing_body_and_a_body_that_is_no_object_are_explained() -> None:
    async with asking(make_app(), **AS_WRITER) as client:
        missing = assert_problem(await client.post(THINGS), 422, "invalid_input")
        listed = assert_problem(await client.post(THINGS, json=[1]), 422, "invalid_input")
    assert missing["errors"][0]["field"] == listed["errors"][0]["field"] == "body"
    assert "JSON object" in missing["detail"]
    assert "JSON object" in listed["detail"]


async def test_an_unknown_address_is_not_found() -> None:
    async with asking(make_app(), **AS_READER) as client:
        assert_problem(await client.get("/api/v1/nothing"), 404, "not_found")
        assert_problem(await client.get("/api/v1/spaces/alpha/things/"), 404, "not_found")


async def test_a_wrong_method_is_told_every_method_of_the_address() -> None:
    async with asking(make_app(), **AS_READER) as client:
        response = await client.put(THINGS, json={})
        assert_problem(response, 405, "method_not_allowed")
        assert response.headers["allow"] == "GET, POST"
        probe = await client.post("/health")
    assert_problem(probe, 405, "method_not_allowed")
    assert probe.headers["allow"] == "GET, HEAD"


async def test_a_bug_is_told_in_one_fixed_sentence() -> None:
    with capture_logs():
        async with asking(make_app(), **AS_READER) as client:
            response = await client.get("/api/v1/spaces/alpha/files/bug")
    problem = assert_problem(response, 500, "internal_error")
    assert "secret" not in response.text
    assert problem["detail"] == problem["title"]
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_an_outage_says_when_to_come_back() -> None:
    async with asking(make_app(), **AS_READER) as client:
        response = await client.get("/api/v1/spaces/alpha/files/away")
    assert_problem(response, 503, "store_unavailable")
    assert response.headers["retry-after"] == "2"


async def test_a_refused_caller_learns_of_the_refusal_before_its_input_is_judged() -> None:
    async with asking(make_app(), **AS_READER) as client:
        assert_problem(await client.post(THINGS, json={"size": "?"}), 403, "write_required")
        assert_problem(await client.post("/api/v1/spaces/beta/things", json={"size": "?"}), 403, "forbidden")


def test_a_detail_with_many_faults_stays_short() -> None:
    faults = [{"loc": ("body", f"f{number}"), "type": "missing", "msg": "Field required"} for number in range(9)]
    situation = invalid(faults)
    assert situation.detail.count("Field required") == 5
    assert len(situation.faults) == 9
