"""The description of the whole HTTP API (OpenAPI 3.1): the files in openapi/ come in, one document goes out.

Each file holds `paths` and `components` of one topic; frame.json the rest. What is the same everywhere is added here:
who is let in, by the address, and what a refusal looks like. The document is in English; translations/<language>.json
has the texts that the page shows in other languages. How it shows them is left to description_page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from flask import Blueprint, render_template

from service.web import description_page, language, rights

FOLDER = Path(__file__).parent / "openapi"
METHODS = ("get", "post", "put", "patch", "delete")
Json = dict[str, Any]

blueprint = Blueprint("description", __name__)
blueprint.before_request(language.switch)
rights.declare(blueprint, rights.ACCOUNT)


@blueprint.get("/api/openapi.json")
def document() -> Json:
    return whole()


@blueprint.get("/v1/openapi.json")
@rights.needs(rights.API)
def document_by_key() -> Json:
    return whole()


@blueprint.get("/api/docs")
def page() -> str:
    described = description_page.translated(whole(), translations(language.current()))
    groups = description_page.groups(described, list(operations(described)))
    schemas = description_page.schemas(described)
    return render_template("api_docs.html", info=described["info"], groups=groups, schemas=schemas)


@cache
def translations(chosen: str) -> dict[str, str]:
    """Return what each English text of the document is in a language; empty for English."""
    path = FOLDER / "translations" / f"{chosen}.json"
    texts: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return texts


@cache
def whole() -> Json:
    """Put the document together."""
    described: Json = json.loads((FOLDER / "frame.json").read_text(encoding="utf-8"))
    for path in sorted(FOLDER.glob("*.json")):
        if path.name != "frame.json":
            part = json.loads(path.read_text(encoding="utf-8"))
            described["paths"] |= part["paths"]
            for kind, found in part.get("components", {}).items():
                described["components"].setdefault(kind, {}).update(found)
    for address, method, operation in operations(described):
        operation.setdefault("security", _security(address, method))
        operation["responses"]["default"] = {"$ref": "#/components/responses/Refused"}
    return described


def operations(described: Json) -> Iterator[tuple[str, str, Json]]:
    """Yield address, method and description of everything that can be asked."""
    for address, item in described["paths"].items():
        for method in METHODS:
            if method in item:
                yield address, method, item[method]


def _security(address: str, method: str) -> list[Json]:
    if address.startswith("/v1/"):
        return [{"key": []}]
    return [{"login": []} if method == "get" else {"login": [], "token": []}]
