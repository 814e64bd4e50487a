import pytest
from pydantic import ValidationError

from app.bootstrap import Services
from app.notes.models import NoteCreate, NotesQuery
from tests.builders import a_caller, a_space


@pytest.mark.parametrize("tags", ["db, api", ["db", " api "], ["db", "", "api"]])
async def test_tags_are_a_text_or_a_list(services: Services, tags: object) -> None:
    await a_space(services)
    request = NoteCreate.model_validate({"category": "todo", "content": "x", "tags": tags})
    await services.notes.write("alpha", request, caller=a_caller())
    (note,) = (await services.notes.read("alpha", NotesQuery())).notes
    assert note.tags == ["db", "api"]


@pytest.mark.parametrize("tags", [[1], ["a,b"], ["t"] * 51, ["t" * 65], ["a\x00"], {"a": 1}, 5, None, [["a"]]])
def test_other_tags_are_refused(tags: object) -> None:
    with pytest.raises(ValidationError) as caught:
        NoteCreate.model_validate({"category": "todo", "content": "x", "tags": tags})
    assert {error["loc"][0] for error in caught.value.errors()} == {"tags"}
