"""What the interface is, as OpenAPI 3.1 and as a page; options are described from their declarations."""

from __future__ import annotations

import html
import json
import re
from functools import cache
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from restorer.options import Option
from restorer.server import choices
from restorer.version import __version__

_JSON, _FORM = "application/json", "multipart/form-data"
_PICTURE = {"description": "The picture's file.", "content": {"image/*": {"schema": {"type": "string"}}}}


def _schema(option: Option) -> dict[str, Any]:
    """Return an option's values as JSON Schema has them."""
    kind = {bool: "boolean", int: "integer", float: "number"}.get(option.kind, "string")
    kinds = [kind, *(["string"] if option.values and kind != "string" else []), *(["null"] if option.optional else [])]
    said: dict[str, Any] = {"type": kinds if len(kinds) > 1 else kind, "description": option.help}
    if option.role is not None:
        said["description"] = option.help.replace("{names}", ", ".join(choices.names_of(option)))
    if option.default is not None:
        said["default"] = option.default
    for name, key in (("least", "minimum"), ("most", "maximum"), ("above", "exclusiveMinimum")):
        if getattr(option, name) is not None:
            said[key] = getattr(option, name)
    if option.values and option.others is None and kind == "string":
        said["enum"] = list(option.values)
    return said


def _says(words: str, schema: str | None = None, *, many: bool = False) -> dict[str, Any]:
    said: dict[str, Any] = {"description": words}
    if schema is not None:
        reference: dict[str, Any] = {"$ref": f"#/components/schemas/{schema}"}
        said["content"] = {_JSON: {"schema": {"type": "array", "items": reference} if many else reference}}
    return said


def _operation(words: str, answers: dict[str, Any], *, body: Any = None, query: tuple[str, ...] = ()) -> dict[str, Any]:
    made: dict[str, Any] = {"summary": words, "responses": {**answers, "default": _says("What is wrong.", "Error")}}
    if body is not None:
        made["requestBody"] = body
    if query:
        made["parameters"] = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in query]
    return made


def _body(schema: str, *kinds: str) -> dict[str, Any]:
    return {"content": {kind: {"schema": {"$ref": f"#/components/schemas/{schema}"}} for kind in kinds}}


_STREAM = {"description": "Events, as they happen.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
_NOTHING = {"description": "Done."}


@cache
def described() -> dict[str, Any]:
    """Return the interface as OpenAPI describes it."""
    options = {name: _schema(option) for name, option in choices.offered().items()}
    text, whole, number, yes = ({"type": kind} for kind in ("string", "integer", "number", "boolean"))
    error = {"type": "object", "properties": {"kind": text, "message": text, "remedy": {"type": ["string", "null"]}}}
    face = {
        "type": "object",
        "properties": {
            "number": whole, "box": {"type": "array", "items": number}, "score": number, "restored": yes,
            "reason": {"type": ["string", "null"]},
        },
    }  # fmt: skip
    faces = {"type": ["array", "null"], "items": face}
    size = {"type": ["array", "null"], "items": whole}
    maybe = {"type": ["boolean", "null"]}
    photo = {
        "type": "object",
        "properties": {
            "photo": text,
            "name": text,
            "bytes": whole,
            "size": size,
            "looked": yes,
            "faces": faces,
            "faded": maybe,
            "screened": maybe,
            "mask": {"type": ["string", "null"]},
        },
    }
    states = ["waiting", "working", "done", "failed", "cancelled"]
    job = {
        "type": "object",
        "properties": {
            "job": text, "photo": text, "name": text, "state": {"type": "string", "enum": states}, "ahead": whole,
            "stage": text, "words": text, "done": number, "seconds_left": {"type": ["number", "null"]},
            "options": {"type": "object"}, "command": text, "output_size": size, "faces": faces,
            "warnings": {"type": ["array", "null"], "items": text}, "error": {**error, "type": ["object", "null"]},
        },
    }  # fmt: skip
    photo_file = {"type": "string", "contentMediaType": "application/octet-stream"}
    form = {"type": "object", "required": ["photo"], "properties": {"photo": photo_file, "mask": photo_file, **options}}
    accepted = {"202": _says("It is taken on; `links` says where to ask.", "Job")}
    paths: dict[str, Any] = {
        "/restore": {"post": _operation("Restore a photo and answer with its result, all in one call.",
                                        {"200": _PICTURE}, body=_body("Form", _FORM))},
        "/photos": {
            "post": _operation("Send a photo and let it be restored.", accepted, body=_body("Form", _FORM)),
            "get": _operation("The photos that you sent, each with its latest job.", {"200": _says("They.")}),
        },
        "/photos/{photo}": {
            "get": _operation("What is known of a photo.", {"200": _says("It.", "Photo")}),
            "delete": _operation("Remove a photo with all that was made of it.", {"204": _NOTHING}),
        },
        "/photos/{photo}/jobs": {"post": _operation(
            "Restore a photo that is here once more, in another way; `instead` gives up what else is to be done to it; "
            "a job that is `aside` is a try, which does not become the photo's latest.",
            accepted, body=_body("Options", _JSON, _FORM), query=("instead", "aside"))},
        "/photos/{photo}/file": {"get": _operation("The photo, as a browser shows it.", {"200": _PICTURE})},
        "/photos/{photo}/mask": {
            "get": _operation("The drawing of what is damaged in it.", {"200": _PICTURE}),
            "put": _operation("Send that drawing: white is damaged, and filled by the photo's next jobs.",
                              {"200": _says("The photo.", "Photo")}, body={"content": {"image/png": {}}}),
            "delete": _operation("Forget the drawing.", {"204": _NOTHING}),
        },
        "/photos/{photo}/thumbnail": {"get": _operation("Its small picture.", {"200": _PICTURE})},
        "/jobs/{job}": {
            "get": _operation("How a job stands.", {"200": _says("It.", "Job")}),
            "delete": _operation("Give a job up.", {"202": _says("It.", "Job")}),
        },
        "/jobs/{job}/events": {"get": _operation("What happens to a job, until it is over.", {"200": _STREAM})},
        "/jobs/{job}/result": {"get": _operation("The result's file.", {"200": _PICTURE}, query=("download",))},
        "/jobs/{job}/shown": {"get": _operation("The result, as a browser shows it.", {"200": _PICTURE})},
        "/jobs/{job}/record": {"get": _operation("The record, as `restore --json` prints it.", {"200": _says("It.")})},
        "/jobs/{job}/faces": {"get": _operation("The photo's faces.", {"200": _says("They.", "Face", many=True)})},
        "/jobs/{job}/faces/{face}": {"get": _operation(
            "A face's part of the result with another strength, while it is kept; `X-Box` says where; `also` names "
            "other faces that have that strength too.",
            {"200": _PICTURE}, query=("strength", "also"))},
        "/jobs/{job}/save": {"post": _operation("Write the result into the folder of `restore serve -o`.",
                                                {"200": _says("Where it is.")})},
        "/events": {"get": _operation("What happens to all of your photos.", {"200": _STREAM})},
        "/zip": {"get": _operation("The results of several jobs in one file.",
                                   {"200": {"description": "A ZIP file."}}, query=("job",))},
        "/about": {"get": _operation("Version, limits, and every option as data.", {"200": _says("It.")})},
    }  # fmt: skip
    for path, operations in paths.items():
        given = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"{(\w+)}", path)
        ]
        for each in operations.values() if given else []:
            each["parameters"] = [*given, *each.get("parameters", [])]
    token = {"type": "http", "scheme": "bearer"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "restore", "version": __version__, "summary": "Restores old photographs of people."},
        "paths": paths,
        "security": [{}, {"token": []}],
        "components": {
            "securitySchemes": {"token": token},
            "schemas": {
                "Options": {"type": "object", "properties": options, "additionalProperties": False},
                "Form": form, "Photo": photo, "Job": job, "Face": face,
                "Error": {"type": "object", "properties": {"error": error}},
            },
        },
    }  # fmt: skip


async def as_json(_request: Request) -> Response:
    """Answer with the description for programs."""
    return JSONResponse(described())


async def as_page(_request: Request) -> Response:
    """Answer with the description for people."""
    return HTMLResponse(_page())


@cache
def _page() -> str:
    told = described()
    rows = []
    for path, operations in told["paths"].items():
        for method, each in operations.items():
            answers = ", ".join(status for status in each["responses"] if status != "default")
            rows.append(f"<tr><td><b>{method.upper()}</b><td><code>{html.escape(path)}</code>"
                        f"<td>{html.escape(each['summary'])}<td>{answers}")  # fmt: skip
    options = [
        f"<tr><td><code>{name}</code><td>{html.escape(str(each.get('default', '')))}"
        f"<td>{html.escape(each['description'])}"
        for name, each in told["components"]["schemas"]["Options"]["properties"].items()
    ]
    job = html.escape(json.dumps(list(told["components"]["schemas"]["Job"]["properties"]), indent=None))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>restore: the interface</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="/static/docs.css"></head>
<body><main><h1>The interface</h1>
<p>In one call: <code>curl -F photo=@a.jpg -F scale=4 ADDRESS/restore -o b.jpg</code>. Beyond this machine every request
needs <code>-H "Authorization: Bearer TOKEN"</code>, with the token that the server printed. The same as OpenAPI 3.1:
<a href="/openapi.json">/openapi.json</a>.</p>
<h2>Addresses</h2><table><thead><tr><th>Method<th>Address<th>What it does<th>Answers</thead><tbody>
{"".join(rows)}</tbody></table>
<h2>Errors</h2><p>Any other answer is <code>{{"error": {{"kind", "message", "remedy"}}}}</code>. 429 means that too much
is waiting; <code>Retry-After</code> says when to ask again.</p>
<h2>A job</h2><p><code>{job}</code>. Its events are <code>job</code> with all of this as data.</p>
<h2>Options</h2><p>Fields of the form, or of a JSON object. They are those of the command line.</p>
<table><thead><tr><th>Option<th>Default<th>What it does</thead><tbody>{"".join(options)}</tbody></table>
</main></body></html>"""
