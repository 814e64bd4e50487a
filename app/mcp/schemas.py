"""The schemas of tools, made from the OpenAPI document of the operations."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

Schema = dict[str, Any]

_MAPS: Final = ("properties", "patternProperties", "$defs", "dependentSchemas")
_LISTS: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLES: Final = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_REF: Final = "#/components/schemas/"
_NOISE: Final = ("title", "discriminator")
"""A title repeats the name of its field; a discriminator is OpenAPI, not JSON Schema."""
_JSON: Final = "application/json"


def exported_document(document: Schema, names: Iterable[str]) -> Schema:
    """The OpenAPI document of the named operations alone: no responses, and no reference left unresolved.

    Raises:
        ValueError: an operation cannot be a tool; the message says which and why.
    """
    wanted = set(names)
    paths: dict[str, Schema] = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if isinstance(operation, dict) and operation.get("operationId") in wanted:
                paths.setdefault(path, {})[method] = _exported(operation, document)
    return {"openapi": document["openapi"], "info": document["info"], "paths": paths}


def _exported(operation: Schema, document: Schema) -> Schema:
    name = operation["operationId"]
    parameters = [
        {**parameter, "schema": inlined(parameter.get("schema", {}), document, name=name)}
        for parameter in operation.get("parameters", [])
    ]
    exported: Schema = {
        "operationId": name,
        "summary": operation.get("summary", ""),
        "tags": operation.get("tags", []),
        "parameters": parameters,
        "responses": {},
    }
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]
        if _JSON not in content:
            raise ValueError(f"operation '{name}' cannot be a tool: its body is not JSON")
        body = inlined(content[_JSON]["schema"], document, name=name)
        if body.get("type") != "object" or "properties" not in body:
            raise ValueError(f"operation '{name}' cannot be a tool: its body is not an object with named fields")
        twice = sorted({parameter["name"] for parameter in parameters} & body["properties"].keys())
        if twice:
            raise ValueError(f"operation '{name}' cannot be a tool: {twice} are both in its address and in its body")
        exported["requestBody"] = {"content": {_JSON: {"schema": body}}}
    return exported


def inlined(schema: Schema, document: Schema, *, name: str, above: tuple[str, ...] = ()) -> Schema:
    """The schema with each reference replaced by what it names; words beside a reference win over the model's.

    Raises:
        ValueError: a model contains itself.
    """
    reference = schema.get("$ref")
    if reference is None:
        return mapped(schema, lambda part: inlined(part, document, name=name, above=above))
    if reference in above:
        raise ValueError(f"operation '{name}' cannot be a tool: its request model {reference} contains itself")
    model = inlined(_named(reference, document), document, name=name, above=(*above, reference))
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    return {**model, **beside}


def input_schema(converted: Schema, operation: Schema, header_arguments: Mapping[str, str]) -> Schema:
    """The converter's schema without its noise, and with the header parameters it forgets.

    `operation` is the exported operation, `header_arguments` maps a header's name to the argument's.
    """
    sources = {parameter["name"]: parameter["schema"] for parameter in operation["parameters"]}
    body = operation.get("requestBody", {}).get("content", {}).get(_JSON, {}).get("schema", {})
    sources |= body.get("properties", {})
    properties = {}
    for name, converted_property in converted["properties"].items():
        # The converter invents a type where the source has none, such as beside `anyOf`, and draws it from a set.
        invented = "type" not in sources[name]
        properties[name] = {key: value for key, value in converted_property.items() if key != "type" or not invented}
    required = list(converted.get("required", []))
    for parameter in operation["parameters"]:
        if parameter["name"] in header_arguments:
            name = header_arguments[parameter["name"]]
            properties[name] = {"description": parameter.get("description", ""), **parameter["schema"]}
            required += [name] if parameter.get("required", False) else []
    return without_noise({"type": "object", "properties": properties, **({"required": required} if required else {})})


def output_schema(name: str, operation: Schema, document: Schema) -> Schema | None:
    """The schema of a success, with its definitions inside, or None when a success is no JSON.

    Raises:
        ValueError: a success is no object, so it cannot be structured content.
    """
    successes = [response for status, response in operation["responses"].items() if status.startswith("2")]
    schemas = [response["content"][_JSON]["schema"] for response in successes if _JSON in response.get("content", {})]
    if not schemas:
        return None
    if any(schema != schemas[0] for schema in schemas):
        raise ValueError(f"operation '{name}' cannot be a tool: its successes have different models")
    root = schemas[0]
    while "$ref" in root:
        root = _named(root["$ref"], document)
    if root.get("type") != "object":
        raise ValueError(f"operation '{name}' cannot be a tool: its result is not an object but {root}")
    definitions: dict[str, Schema] = {}
    pending = list(references(root))
    while pending:
        reference = pending.pop()
        model = reference.removeprefix(_REF)
        if model not in definitions:
            definitions[model] = _named(reference, document)
            pending += references(definitions[model])
    whole = {**root, **({"$defs": dict(sorted(definitions.items()))} if definitions else {})}
    return without_noise(_moved(whole))


def references(schema: Schema) -> list[str]:
    """Every reference in the schema, at whatever depth."""
    found = [schema["$ref"]] if "$ref" in schema else []

    def note(part: Schema) -> Schema:
        found.extend(references(part))
        return part

    mapped(schema, note)
    return found


def without_noise(schema: Schema) -> Schema:
    """The schema without words that say nothing to a caller; a field that bears such a name is kept."""
    return {key: value for key, value in mapped(schema, without_noise).items() if key not in _NOISE}


def mapped(schema: Schema, change: Callable[[Schema], Schema]) -> Schema:
    """The schema with each direct subschema changed; examples and defaults are data, and left alone."""
    result = dict(schema)
    for key, value in schema.items():
        if key in _MAPS and isinstance(value, dict):
            result[key] = {name: change(part) if isinstance(part, dict) else part for name, part in value.items()}
        elif key in _LISTS and isinstance(value, list):
            result[key] = [change(part) if isinstance(part, dict) else part for part in value]
        elif key in _SINGLES and isinstance(value, dict):
            result[key] = change(value)
    return result


def _moved(schema: Schema) -> Schema:
    result = mapped(schema, _moved)
    if "$ref" in result:
        result["$ref"] = "#/$defs/" + result["$ref"].removeprefix(_REF)
    return result


def _named(reference: str, document: Schema) -> Schema:
    model: Schema = document["components"]["schemas"][reference.removeprefix(_REF)]
    return model
