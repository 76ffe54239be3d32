"""What watches the service: /healthz (the process is up), /readyz (it can answer now), /metrics (Prometheus)."""

from __future__ import annotations

import ipaddress
from typing import Any

from flask import Blueprint, Response, request
from sqlalchemy import text

from service.web import rights
from service.web.database_errors import AWAY
from service.web.errors import Refusal
from service.web.guard import caller_by_key
from service.web.services import services

blueprint = Blueprint("health", __name__)
rights.declare(blueprint, rights.OPEN)  # /metrics looks for itself


@blueprint.get("/healthz")
def healthz() -> dict[str, bool]:
    return {"ok": True}


@blueprint.get("/readyz")
def readyz() -> tuple[dict[str, Any], int]:
    try:
        with services().database.begin() as session:
            session.execute(text("SELECT 1"))
    except AWAY:
        return {"ready": False, "reason": "the database cannot be used"}, 503
    health = services().engine.health()
    if not health.is_ready:
        return {"ready": False, "reason": health.reason}, 503
    return {"ready": True, "model": health.model}, 200


@blueprint.get("/metrics")
def metrics() -> Response:
    """Open to this machine and to API keys."""
    if not _is_local() and caller_by_key() is None:
        raise Refusal(401, "invalid_api_key", "Send a valid API key: Authorization: Bearer ferry-…")
    ready = int(services().engine.health().is_ready)
    return Response(services().metrics.render(ferry_web_engine_ready=ready), mimetype="text/plain; version=0.0.4")


def _is_local() -> bool:
    """Say whether the request comes from this machine itself, and not through a proxy that runs on it."""
    if "X-Forwarded-For" in request.headers or "Forwarded" in request.headers:
        return False
    try:
        return ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False
