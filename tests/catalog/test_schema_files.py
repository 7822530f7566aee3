from __future__ import annotations

import orjson
import pytest
import yaml_rs
from jsonschema import Draft202012Validator

from catalog import jsonschema as schema_files
from catalog.registry import POOLS_FOLDER

FILES = sorted(POOLS_FOLDER.glob("*/*.yaml"))


@pytest.mark.parametrize("name", schema_files.schemas())
def test_the_committed_schema_is_what_the_models_say(name: str) -> None:
    written = (schema_files.FOLDER / name).read_bytes()
    assert written == schema_files.schemas()[name], "run: python -m catalog.jsonschema"


def test_every_data_file_names_its_schema_and_obeys_it() -> None:
    validators = {name: Draft202012Validator(orjson.loads(text)) for name, text in schema_files.schemas().items()}
    assert FILES
    for path in FILES:
        first, _, _ = path.read_text("utf-8").partition("\n")
        name = "pool.schema.json" if path.name == "pool.yaml" else "domain.schema.json"
        assert first == f"# yaml-language-server: $schema=../../{name}", path
        errors = [error.message for error in validators[name].iter_errors(yaml_rs.loads(path.read_text("utf-8")))]
        assert errors == [], path
