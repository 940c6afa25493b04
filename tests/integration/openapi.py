# SPDX-License-Identifier: LGPL-2.1-or-later
"""docs/openapi.yaml as a judge: which calls there are, and whether an answer is what is written there.

Only the words that the document uses are known; another one is an error, or it would judge nothing."""

import re
from pathlib import Path

import yaml

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/openapi.yaml"
METHODS = ("get", "post", "delete")

_ANNOTATIONS = {"description", "default", "format", "summary", "example"}
_KNOWN = _ANNOTATIONS | {
    "$ref", "type", "properties", "required", "additionalProperties", "items", "enum", "nullable", "pattern",
    "minimum", "maximum", "minLength", "maxLength", "maxItems",
}  # fmt: skip
_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Mismatch(AssertionError):
    """An answer that is not as it is documented."""


def _is_type(value, name):
    if isinstance(value, bool) and name != "boolean":
        return False
    return isinstance(value, _TYPES[name])


class OpenApi:
    def __init__(self, path: Path = DOCUMENT) -> None:
        self.document = yaml.safe_load(path.read_text())

    def resolve(self, node):
        while isinstance(node, dict) and "$ref" in node:
            target = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def operations(self):
        """(method, path, operation), parameters of the path included."""
        for path, item in self.document["paths"].items():
            for method in METHODS:
                if method in item:
                    yield method.upper(), path, item[method]

    def find(self, method, target):
        """The documented path that a request's target is of, and its operation. A literal part goes before a
        parameter, as it does in the server."""
        parts = target.partition("?")[0].split("/")
        best = None
        for path, item in self.document["paths"].items():
            pattern = path.split("/")
            if len(pattern) != len(parts) or method.lower() not in item:
                continue
            if all(p == q or p.startswith("{") for p, q in zip(pattern, parts, strict=True)):
                n_literal = sum(p == q for p, q in zip(pattern, parts, strict=True))
                if best is None or n_literal > best[0]:
                    best = (n_literal, path, item[method.lower()])
        return best[1:] if best else None

    def check_answer(self, method, target, status, body):
        """Raises Mismatch if the answer is not a documented one of the call."""
        found = self.find(method, target)
        where = f"{method} {target}: {status}"
        if not found:
            schema = self.document["components"]["schemas"]["Error"]
            if status not in (404, 405):
                raise Mismatch(f"{where}: the call is not documented")
        else:
            responses = found[1]["responses"]
            if status < 400 and str(status) not in responses:
                raise Mismatch(f"{where}: this status is not documented")
            response = self.resolve(responses.get(str(status), responses.get("default")))
            schema = response["content"]["application/json"]["schema"]
        self.check(body, schema, where)

    def check(self, value, schema, where):
        schema = self.resolve(schema)
        unknown = set(schema) - _KNOWN
        if unknown:
            raise Mismatch(f"{where}: the document has words that are not understood here: {unknown}")
        if value is None:
            if not schema.get("nullable"):
                raise Mismatch(f"{where}: null, which it may not be")
            return
        if "type" in schema and not _is_type(value, schema["type"]):
            raise Mismatch(f"{where}: got {value!r:.80}, expected {schema['type']}")
        if "enum" in schema and value not in schema["enum"]:
            raise Mismatch(f"{where}: got {value!r}, expected one of {schema['enum']}")
        if isinstance(value, dict):
            self._check_object(value, schema, where)
        elif isinstance(value, list):
            for i, element in enumerate(value):
                self.check(element, schema["items"], f"{where}[{i}]")
        elif isinstance(value, str):
            self._check_string(value, schema, where)

    def _check_object(self, value, schema, where):
        properties = schema.get("properties", {})
        missing = [name for name in schema.get("required", []) if name not in value]
        if missing:
            raise Mismatch(f"{where}: {missing} missing in {sorted(value)}")
        for name, member in value.items():
            if name in properties:
                self.check(member, properties[name], f"{where}.{name}")
            elif schema.get("additionalProperties") is not True:
                raise Mismatch(f"{where}: the member {name!r} is not documented")

    @staticmethod
    def _check_string(value, schema, where):
        if schema.get("format") == "date-time" and not _DATE_TIME.fullmatch(value):
            raise Mismatch(f"{where}: got {value!r}, expected a time")
        if "pattern" in schema and not re.search(schema["pattern"], value):
            raise Mismatch(f"{where}: got {value!r}, expected {schema['pattern']}")
