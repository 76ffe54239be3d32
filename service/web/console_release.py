"""Administration: the installed release, the licences of all that is in it, and its SBOM."""

from __future__ import annotations

from flask import Response, request, send_file

from service.web import console, release
from service.web.console import page
from service.web.services import services

blueprint = console.section("console_release", "/admin/release")


@blueprint.get("")
def index() -> str:
    found = release.read(services().paths.release)
    return page("release", release=found, manifest=found.manifest)


@blueprint.get("/sbom")
def sbom() -> Response:
    """Send the list of all components, in CycloneDX's form."""
    found = release.read(services().paths.release)
    if not found.has_sbom:
        raise console.missing()
    return send_file(
        found.folder / release.SBOM,
        mimetype="application/vnd.cyclonedx+json",
        as_attachment=True,
        download_name=f"{found.manifest.get('name') or 'ferry'}.cdx.json",
    )


@blueprint.get("/licence")
def licence() -> str:
    name = request.args.get("file", "")
    text = release.licence(services().paths.release, name)
    if text is None:
        raise console.missing()
    return page("release", "console_licence.html", name=name, text=text)
