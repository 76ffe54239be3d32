"""Administration: the settings that can be changed while the service runs; they go before ferry.toml."""

from __future__ import annotations

from flask import request
from werkzeug.wrappers import Response as BaseResponse

from service.web import console
from service.web.console import back, page, record
from service.web.live_settings import BadSetting
from service.web.services import caller, services

blueprint = console.section("console_settings", "/admin/settings")


@blueprint.get("")
def index() -> str:
    return _page()


@blueprint.post("/<name>")
def change(name: str) -> BaseResponse | tuple[str, int]:
    """Set a value, or with `reset` let the file's hold again."""
    settings = services().settings
    text = request.form.get("value", "")
    try:
        with services().database.begin() as session:
            if "reset" in request.form:
                settings.reset(session, name)
            else:
                value = settings.put(session, name, text, caller().name)
    except KeyError as error:
        raise console.missing() from error
    except BadSetting:
        return _page(refused=name, text=text), 400
    settings.forget()
    if "reset" in request.form:
        record("setting_reset", subject=name)
        return back("console_settings.index", done="setting_reset")
    # A system prompt is a text: the log says that it changed, and how long it is.
    record(
        "setting_changed", subject=name, **({"characters": len(value)} if isinstance(value, str) else {"value": value})
    )
    return back("console_settings.index", done="setting")


def _page(refused: str = "", text: str = "") -> str:
    with services().database.begin() as session:
        shown = services().settings.shown(session)
    return page("settings", shown=shown, refused=refused, text=text)
