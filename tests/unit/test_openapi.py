"""The description of the API for programs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from mailsvc.web import ROUTES
from mailsvc.web.openapi import describe

DESCRIPTION: dict[str, Any] = json.loads(json.dumps(describe(ROUTES)))
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DESCRIPTION["paths"].items()
    for method, operation in operations.items()
}


def test_it_is_valid() -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(DESCRIPTION).iter_errors()] == []


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        ("GET /email/{id}", "200"),
        ("POST /keys", "201"),
        ("POST /suppressions", "201"),
        ("DELETE /suppressions/{address}", "200"),
        ("POST /callbacks", "201"),
        ("POST /callbacks/{id}/replay", "202"),
        ("POST /providers/{name}/pause", "200"),
    ],
)
def test_each_operation_has_one_answer_when_all_goes_well(operation: str, status: str) -> None:
    assert [each for each in OPERATIONS[operation]["responses"] if each < "400"] == [status]


def test_a_mail_is_accepted_or_tried_out() -> None:
    assert [each for each in OPERATIONS["POST /email"]["responses"] if each < "400"] == ["202", "200"]


def test_each_fault_is_a_problem_and_each_operation_names_its_own() -> None:
    for status in DESCRIPTION["components"]["responses"].values():
        assert [*status["content"]] == ["application/problem+json"]

    assert {"400", "401", "403", "413", "415", "422", "429", "503"} <= OPERATIONS["POST /email"]["responses"].keys()
    assert "409" in OPERATIONS["POST /email/{id}/resolve"]["responses"]
    assert "404" in OPERATIONS["GET /email/{id}"]["responses"]
    assert "default" not in {status for operation in OPERATIONS.values() for status in operation["responses"]}


def test_operations_have_names_of_their_own_words_and_a_shape_for_what_they_answer() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]

    assert len(set(names)) == len(names)
    for name, operation in OPERATIONS.items():
        assert operation["summary"], name
        assert operation["description"], name
        for status in (each for each in operation["responses"] if each < "400"):
            assert name.startswith("HEAD") or operation["responses"][status]["content"], name


def test_every_field_of_a_mail_that_may_be_left_out_may_be_null() -> None:
    mail = DESCRIPTION["components"]["schemas"]["Mail"]
    takes_null = {name for name, field in mail["properties"].items() if '"null"' in json.dumps(field)}

    assert takes_null == mail["properties"].keys() - {*mail["required"]}
    assert mail["required"] == ["to"]


def test_metadata_is_asked_for_by_a_name() -> None:
    (found,) = (each for each in OPERATIONS["GET /email"]["parameters"] if each["name"] == "metadata")

    assert (found["style"], found["explode"], found["schema"]["type"]) == ("deepObject", True, "object")


def test_parameters_of_a_list_have_types() -> None:
    found = {each["name"]: each["schema"] for each in OPERATIONS["GET /email"]["parameters"]}

    assert found["limit"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
    assert found["status"] == {"$ref": "#/components/schemas/Status"}
    assert found.keys() == {"status", "to", "tag", "provider", "metadata", "since", "until", "limit", "after"}
