"""The JSON Schema of the configuration, for editors and for our own messages."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from damon_exporter.config.model import Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


class _Generator(GenerateJsonSchema):
    """Pydantic's own, without a title that only repeats the key."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


@cache
def schema() -> Schema:
    """A JSON Schema of what the file may hold; rules between keys are checked on loading only. Not to be changed."""
    keys = Config.model_json_schema(schema_generator=_Generator)
    return {"$schema": DIALECT, **keys, "title": "damon-exporter configuration"}


def keys_at(location: Sequence[int | str], whole: Schema) -> list[str]:
    """The keys that may stand at a place in a file with the schema ``whole``; empty if none are fixed there."""
    here = whole
    for step in location:
        here = _resolved(whole, here)
        here = here.get("items", {}) if isinstance(step, int) else here.get("properties", {}).get(step, {})
    return list(_resolved(whole, here).get("properties", {}))


def _resolved(whole: Schema, part: Schema) -> Schema:
    """What stands behind a reference, or behind "this or null"."""
    for choice in part.get("anyOf", ()):
        if choice != {"type": "null"}:
            return _resolved(whole, choice)
    if "$ref" in part:
        found: Schema = whole["$defs"][part["$ref"].rpartition("/")[2]]
        return found
    return part
