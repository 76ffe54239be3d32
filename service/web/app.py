"""The Flask app: puts the parts together. In: paths, settings and the way to the engine. Out: a WSGI app."""

from __future__ import annotations

import logging

from flask import Flask, Response, current_app, jsonify, redirect, render_template, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from service import config as configuration
from service.config import Config
from service.paths import Paths
from service.web import (
    account_pages,
    api,
    audit_pages,
    consent,
    console_pages,
    database_errors,
    description,
    directory,
    guard,
    health,
    language,
    layout,
    openai_api,
    pages,
    preferences,
    presenting,
    spool,
)
from service.web.answer_run import Tools
from service.web.aside import Aside
from service.web.audit import Audit, AuditUnavailable, to_stderr
from service.web.chat import Chat
from service.web.database import Database
from service.web.engine_client import EngineClient
from service.web.errors import Refusal
from service.web.live_settings import LiveSettings
from service.web.metrics import Metrics
from service.web.proxies import Proxies
from service.web.rates import Rates
from service.web.records import Records
from service.web.refusals import unaudited
from service.web.services import KEY, Services
from service.web.spool import Spools
from service.web.usage import Usage

log = logging.getLogger(__name__)
CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 400: "bad_request"}


def create_app(paths: Paths, config: Config, engine: EngineClient) -> Flask:
    """Make the app over a database that service.web.revisions.migrate has brought up to date."""
    app = Flask(__name__)
    app.wsgi_app = Proxies(app.wsgi_app, config.web.trusted_proxies)  # type: ignore[method-assign]
    app.config["MAX_CONTENT_LENGTH"] = config.web.max_body_kib * 1024
    store = Database.of(config.data, paths.data)
    settings = LiveSettings(config, store, is_local=engine.is_local)
    engine.per_user = settings.per_user
    usage = Usage(store, lambda: settings.current().quota.tokens_per_day)
    audit, metrics = Audit(paths.log, paths.data, config.audit, to_stderr), Metrics()
    records = Records(audit, metrics, usage)
    tools = Tools(settings.current, store, engine, records, Spools(paths.data / spool.FOLDER))
    app.extensions[KEY] = Services(
        paths=paths,
        settings=settings,
        database=store,
        engine=engine,
        audit=audit,
        chat=Chat(tools),
        metrics=metrics,
        usage=usage,
        aside=Aside(),
        directory=directory.configured(config.ldap),
        rates=Rates(config.web.requests_per_minute),
    )
    app.extensions[KEY].chat.settle_all()
    for blueprint in (
        pages.blueprint,
        account_pages.blueprint,
        consent.blueprint,
        audit_pages.blueprint,
        api.blueprint,
        openai_api.blueprint,
        health.blueprint,
        description.blueprint,
        *console_pages.ALL,
    ):
        app.register_blueprint(blueprint)
    app.before_request(guard.check_request)
    app.before_request(preferences.switch_theme)
    app.after_request(guard.add_headers)
    app.context_processor(_page_words)
    presenting.register(app)
    app.context_processor(layout.context)
    app.register_error_handler(Refusal, _refused)
    app.register_error_handler(AuditUnavailable, _unaudited)
    app.register_error_handler(HTTPException, _http_error)
    for kind in database_errors.UNUSABLE:
        app.register_error_handler(kind, _database_failed)
    app.register_error_handler(Exception, _unexpected)
    return app


def from_environment() -> Flask:
    """Make the app that gunicorn's worker serves."""
    paths = Paths.from_environment()
    config = configuration.load(paths.config)
    return create_app(paths, config, EngineClient(config, paths.socket))


def _page_words() -> dict[str, object]:
    chosen = language.current()
    return {
        "t": language.strings(chosen),
        "language": chosen,
        "languages": language.NAMES,
        "theme": preferences.theme(),
    }


def _refused(refusal: Refusal) -> Response:
    if _wants_json():
        response = jsonify(refusal.body())
    else:
        response = Response(render_template("error.html", status=refusal.status, code=refusal.code))
    response.status_code = refusal.status
    if refusal.retry_after:
        response.headers["Retry-After"] = refusal.retry_after
    return response


def _unaudited(error: AuditUnavailable) -> Response:
    log.error("%s %s refused: %s", request.method, request.path, error)
    return _refused(unaudited())


def _http_error(error: HTTPException) -> BaseResponse:
    status = error.code or 500
    if status < 400:
        return error.get_response()  # a redirect that routing asks for
    if status == 405 and request.method in guard.SAFE_METHODS and not _wants_json():
        # A form's address, by the bar, a link of the page that answered it, or a login that came between.
        return redirect(_page_above(request.path))
    response = _refused(Refusal(status, CODES.get(status, "http_error"), error.description or error.name))
    if allowed := getattr(error, "valid_methods", None):
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def _page_above(path: str) -> str:
    """Return the nearest page that has this path below it."""
    routes = current_app.create_url_adapter(request)
    while routes and (path := path.rpartition("/")[0]):
        try:
            routes.match(path, method="GET")
        except HTTPException:
            continue
        return path
    return "/"


def _database_failed(error: SQLAlchemyError) -> Response:
    return _refused(database_errors.refusal_of(error))


def _unexpected(error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    return _refused(Refusal(500, "internal_error", "Something went wrong here. The administrator's log says more."))


def _wants_json() -> bool:
    return guard.wants_json() or request.endpoint in {"health.metrics", "health.readyz"}
