"""Administration: how the service is and what it does now; the page's small charts ask /api/admin/load."""

from __future__ import annotations

import time
from typing import Any

from flask import Blueprint, request

from service.web import audit_state, condition, console, load, usage
from service.web.console import page
from service.web.services import services

blueprint = console.section("console_overview", "/admin")
api: Blueprint = console.section("console_load", "/api/admin")


@blueprint.get("")
def index() -> str:
    known = services()
    config = known.config
    today = usage.day_of(time.time())
    with known.database.begin() as session:
        days = usage.daily(session, today)
    return page(
        "overview",
        health=known.engine.health(),
        is_local=known.engine.is_local,
        settings=config,
        checked=audit_state.last(known.paths.data),
        condition=condition.look(known.paths, config, known.database, request.is_secure),
        days=[(day * usage.DAY_S, requests, tokens) for day, requests, tokens in days],
        today=next(((requests, tokens) for day, requests, tokens in days if day == today), (0, 0)),
        month=(sum(day[1] for day in days), sum(day[2] for day in days)),
        most=max((day[2] for day in days), default=0),
    )


@api.get("/load")
def show_load() -> dict[str, Any]:
    """Say what the engine and all workers do now: gauges, and counters as they stand."""
    known = services()
    return load.now(known.config, known.engine, known.metrics)
