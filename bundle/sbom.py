"""The bill of materials: what a bundle consists of -> CycloneDX JSON, by the official library, and back to a summary.

The same bundle gives the same bytes: its serial number comes out of its content, its time is the bundle's. Schema 1.6
is what scanners read today (docs/decisions/0012). Format: cyclonedx.org, ECMA-424.
"""

import json
import re
import uuid
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component as Entry
from cyclonedx.model.component import ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from packageurl import PackageURL

from bundle import licences
from bundle.components import FERRY, INTERPRETER, MODEL, SCRIPT, WHEEL, Component
from checksums.errors import IntegrityError
from checksums.layout import SBOM
from checksums.manifest import File, Manifest

TYPES = {
    MODEL: ComponentType.MACHINE_LEARNING_MODEL,
    WHEEL: ComponentType.LIBRARY,
    INTERPRETER: ComponentType.PLATFORM,
    SCRIPT: ComponentType.LIBRARY,
    FERRY: ComponentType.APPLICATION,
}
# No purl type knows ModelScope, nor archives of CPython.
PURL_TYPES = {MODEL: "generic", WHEEL: "pypi", INTERPRETER: "generic", SCRIPT: "npm", FERRY: "generic"}
MODEL_PAGE = "https://modelscope.cn/models/{}"
SERIAL_NUMBERS = uuid.UUID("6a1f1b0e-52a5-5c0c-9b0e-7d6f1d9d3c41")
CREATED = "%Y-%m-%dT%H:%M:%SZ"
MAX_FAULT = 300
HINT = "the bundle was not made by Ferry, or is damaged: copy it again"


def render(manifest: Manifest, components: Sequence[Component]) -> bytes:
    """Return sbom.cdx.json for what `components.of` found in this manifest, valid against its schema.

    Raises:
        IntegrityError: it is not valid; a name or a licence holds what no such file may.
    """
    own = next(_entry(one, manifest) for one in components if one.kind == FERRY)
    others = [_entry(one, manifest) for one in components if one.kind != FERRY]
    facts = [manifest.name, manifest.created, manifest.sequence, *((one.license, one.sha256) for one in components)]
    bom = Bom(
        components=others,
        serial_number=uuid.uuid5(SERIAL_NUMBERS, json.dumps(facts)),
        metadata=BomMetaData(
            component=own,
            timestamp=datetime.strptime(manifest.created, CREATED).replace(tzinfo=timezone.utc),
            properties=[Property(name="ferry:bundle", value=manifest.name), _python(manifest)],
        ),
    )
    bom.register_dependency(own, others)
    data = f"{JsonV1Dot6(bom).output_as_string(indent=1)}\n".encode()
    check(data)
    return data


def check(data: bytes) -> None:
    """Refuse what is not a CycloneDX 1.6 document.

    Raises:
        IntegrityError: the first place where it is not.
    """
    from cyclonedx.validation.json import JsonStrictValidator  # two seconds to import, which only a build has

    if fault := JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()):
        raise IntegrityError(f"{SBOM}: not valid: {str(fault)[:MAX_FAULT]}", "report it: a name or a licence breaks it")


def text(data: bytes) -> str:
    """Return a bill of materials for people, one line a component.

    Raises:
        IntegrityError: it is none, or holds what cannot be shown.
    """
    try:
        found = json.loads(data)
        rows = [_row(one) for one in [found["metadata"]["component"], *found.get("components", [])]]
        words = [f"CycloneDX {found['specVersion']}", f"{len(rows)} components", str(found["serialNumber"])]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"{SBOM}: not a bill of materials: {error}", HINT) from error
    rows.sort(key=lambda row: row[0] == ComponentType.LIBRARY.value)
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)) for row in rows]
    if not "".join([*words, *lines]).isprintable():
        raise IntegrityError(f"{SBOM}: holds characters that cannot be shown", HINT)
    return "\n".join([", ".join(words), *(f"  {line.rstrip()}" for line in lines)])


def _entry(one: Component, manifest: Manifest) -> Entry:
    purl = _purl(one)
    properties = [Property(name="ferry:path", value=file.path) for file in one.files if len(one.files) == 1]
    if not one.allows_commercial_use:
        properties.append(Property(name="ferry:commercial-use", value="false"))
    is_page = one.kind == MODEL and manifest.model.source == "modelscope"
    return Entry(
        type=TYPES[one.kind],
        name=one.name,
        version=one.version,
        bom_ref=str(purl),
        purl=purl,
        cpe=f"cpe:2.3:a:python:python:{one.version}:*:*:*:*:*:*:*" if one.kind == INTERPRETER and one.version else None,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one.sha256)],
        licenses=[LicenseFactory().make_from_string(licences.spdx(one.license) or "unknown")],
        external_references=[
            ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(MODEL_PAGE.format(one.name)))
        ]
        if is_page
        else [],
        properties=properties,
        components=[_file(file) for file in one.files] if one.kind == MODEL else [],
    )


def _file(file: File) -> Entry:
    """Return one file of a model; where ours differs from the hub's, the hub's digest stands beside it."""
    upstream = [Property(name="ferry:upstream-sha256", value=file.upstream_sha256)] if file.upstream_sha256 else []
    return Entry(
        type=ComponentType.FILE,
        name=file.path,
        bom_ref=file.path,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=file.sha256)],
        properties=upstream,
    )


def _purl(one: Component) -> PackageURL:
    namespace, _, name = one.name.rpartition("/")
    return PackageURL(PURL_TYPES[one.kind], namespace or None, name, one.version or None)


def _python(manifest: Manifest) -> Property:
    carried = manifest.python.version or "the server's own"
    return Property(name="ferry:python", value=f"{manifest.python.source} {carried}")


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    """Return type, name, version, the digest's first digits and licence."""
    stated = [entry.get("expression") or _license_name(entry) for entry in one.get("licenses", [])]
    digest = next((entry["content"] for entry in one.get("hashes", [])), "")
    cells = one["type"], one["name"], one.get("version", ""), digest, ", ".join(stated) or "unknown"
    return tuple(_short(str(cell)) for cell in cells[:4]) + cells[4:]


def _short(cell: str) -> str:
    """Return commits and digests by their first digits, which nobody reads further."""
    return re.sub(r"[0-9a-f]{40,}", lambda found: f"{found[0][:12]}…", cell)


def _license_name(entry: dict[str, Any]) -> str:
    found = entry.get("license", {})
    return str(found.get("id") or found.get("name") or "unknown")
