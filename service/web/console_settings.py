"""Administration: the settings that can be changed while the service runs; they override ferry.toml."""

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
    is_reset = "reset" in request.form
    try:
        with services().database.begin() as session:
            if is_reset:
                settings.reset(session, name)
                record("setting_reset", subject=name)
            else:
                _record_change(name, settings.put(session, name, text, caller().name))
    except KeyError as error:
        raise console.missing() from error
    except BadSetting:
        return _page(refused=name, text=text), 400
    settings.forget()
    return back("console_settings.index", done="setting_reset" if is_reset else "setting", setting=name)


def _record_change(name: str, value: object) -> None:
    """Record a value; of a text, which the log may not hold, how long it is."""
    facts = {"characters": len(value)} if isinstance(value, str) else {"value": value}
    record("setting_changed", subject=name, **facts)


def _page(refused: str = "", text: str = "") -> str:
    with services().database.begin() as session:
        shown = services().settings.shown(session)
    changed = request.args.get("setting", "").replace(".", "_")
    return page("settings", shown=shown, refused=refused, text=text, subject=f"admin_set_{changed}")
