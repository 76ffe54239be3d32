"""Two bundles -> what changes between them, as a change board asks for it: a value for JSON, and text. Pure.

Nothing is proved here: both say of themselves what is compared.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bundle import components, licences
from bundle.components import FERRY, INTERPRETER, MODEL, RECORD, Component
from bundle.glance import Glance
from bundle.licences import FREE, ORDER
from bundle.wording import size
from checksums.layout import INSTALLER, NEXT_SIGNERS
from checksums.manifest import File, Manifest

PACKAGES = (components.WHEEL, components.SCRIPT)
MODEL_FIELDS = ("id", "source", "revision", "commit", "license", "dtype", "parameters")
TITLES = {
    "model": "MODEL",
    "interpreter": "PYTHON",
    "target": "SERVER",
    "requires": "NEEDS",
    "installer": "INSTALLER",
}
LABELS = {"disk_bytes": "disk", "ram_bytes": "memory"}
Value = dict[str, Any]


def compare(old: Glance, new: Glance) -> Value:
    """Return everything that differs; texts of RECORD are used where both were read with it."""
    before, after = (components.of(one.manifest, one.text(RECORD)) for one in (old, new))
    found = {
        "old": _head(old),
        "new": _head(new),
        "model": _model(old.manifest, new.manifest),
        "interpreter": _changed({"version": _python(old.manifest)}, {"version": _python(new.manifest)}),
        "target": _changed(vars(old.manifest.target), vars(new.manifest.target)),
        "requires": _changed(vars(old.manifest.requires), vars(new.manifest.requires)),
        "packages": _packages(before, after),
        "installer": _changed(_installer(old.manifest), _installer(new.manifest)),
        "service": _files(old.manifest, new.manifest, components.APP_FOLDER),
        "model_files": _files(old.manifest, new.manifest, components.MODEL_FOLDER),
        "licences_worse": _worse(before, after),
    }
    found["watch"] = _watch(old, new, found)
    return found


def _head(seen: Glance) -> Value:
    manifest = seen.manifest
    return {
        "name": manifest.name,
        "version": manifest.version,
        "sequence": manifest.sequence,
        "created": manifest.created,
        "size": sum(file.size for file in manifest.files),
        "files": len(manifest.files) + 1,  # manifest.json, which does not list itself
        "signed_by": list(seen.signed_by),
        "base": manifest.base.release if manifest.base else None,
    }


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> Value:
    return {key: {"old": old[key], "new": new[key]} for key in old if old[key] != new[key]}


def _model(old: Manifest, new: Manifest) -> Value:
    values = []
    for manifest in (old, new):
        total = sum(file.size for file in manifest.files if file.path.startswith(components.MODEL_FOLDER))
        values.append({**{field: getattr(manifest.model, field) for field in MODEL_FIELDS}, "size": total})
    return _changed(*values)


def _python(manifest: Manifest) -> str:
    carried = next((one for one in components.of(manifest, "") if one.kind == INTERPRETER), None)
    return f"{carried.version}, sha256 {carried.sha256[:12]}…" if carried else "the server's own"


def _installer(manifest: Manifest) -> Value:
    entry = manifest.file(INSTALLER)
    return {"sha256": entry.sha256 if entry else ""}


def _packages(old: Sequence[Component], new: Sequence[Component]) -> Value:
    before, after = ({one.name: one for one in side if one.kind in PACKAGES} for side in (old, new))
    both = sorted(before.keys() & after.keys())
    return {
        "added": [_package(after[name]) for name in sorted(after.keys() - before.keys())],
        "removed": [_package(before[name]) for name in sorted(before.keys() - after.keys())],
        "changed": [
            {"name": name, "old": _package(before[name]), "new": _package(after[name])}
            for name in both
            if _package(before[name]) != _package(after[name])
        ],
        "unchanged": sum(_package(before[name]) == _package(after[name]) for name in both),
    }


def _package(one: Component) -> Value:
    stated = licences.spdx(one.license)
    return {"name": one.name, "version": one.version, "license": stated, "sha256": one.sha256}


def _files(old: Manifest, new: Manifest, folder: str) -> Value:
    before, after = _below(old.files, folder), _below(new.files, folder)
    return {
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
        "changed": sorted(path for path in before.keys() & after.keys() if before[path] != after[path]),
    }


def _below(files: Iterable[File], folder: str) -> dict[str, tuple[str, str]]:
    found = (file for file in files if file.path.startswith(folder))
    return {file.path.removeprefix(folder): (file.sha256, file.mode) for file in found}


def _worse(old: Sequence[Component], new: Sequence[Component]) -> list[Value]:
    """Return whose licence allows less than before, and what is new and not free."""
    before = {_key(one): one for one in old}
    found = []
    for one in new:
        was = before.get(_key(one))
        uses = [licences.judge(each.license, each.allows_commercial_use) for each in (was, one) if each]
        limit = ORDER.index(uses[0].use) if was else ORDER.index(FREE)
        if one.kind != FERRY and ORDER.index(uses[-1].use) < limit:
            then = {"old": was.license, "old_use": uses[0].use} if was else {"old": None, "old_use": None}
            now = {"new": one.license, "new_use": uses[-1].use, "words": uses[-1].words}
            found.append({"kind": one.kind, "name": one.name, "version": one.version, **then, **now})
    return found


def _key(one: Component) -> tuple[str, str]:
    """Return what is the same thing in two bundles: a model takes the place of the one before, whatever its name."""
    return one.kind, "" if one.kind == MODEL else one.name


def _watch(old: Glance, new: Glance, found: Value) -> list[str]:
    """Return what nobody may overlook."""
    lines = []
    if new.manifest.sequence < old.manifest.sequence:
        lines.append("the new bundle is older by its sequence: a server that had the old one refuses it")
    if new.manifest.sequence == old.manifest.sequence and new.manifest != old.manifest:
        lines.append("both have the same sequence and differ: a server that had the one refuses the other")
    if old.manifest.profile != new.manifest.profile:
        lines.append(f"another profile: {old.manifest.profile} -> {new.manifest.profile}")
    if "id" in found["model"]:
        lines.append("another model")
    if found["target"]:
        lines.append("made for another kind of server")
    if old.signed_by and not new.signed_by:
        lines.append("the new bundle is NOT SIGNED; the old one was")
    elif set(old.signed_by) != set(new.signed_by):
        lines.append("signed with other keys")
    if brought := new.manifest.file(NEXT_SIGNERS):
        lines.append(f"the new bundle brings another list of trusted keys, sha256:{brought.sha256}")
    for row in found["licences_worse"]:
        was = f"{row['old']} -> {row['new']}" if row["old"] is not None else f"{row['new']} (new here)"
        lines.append(f"licence of {row['name']}: {was}: {row['words']}")
    return lines


def text(found: Value) -> str:
    """Return the comparison for people."""
    old, new = found["old"], found["new"]
    lines = [
        f"old       {_title(old)}",
        f"new       {_title(new)}",
        f"size      {size(old['size'])} -> {size(new['size'])}, {old['files']} -> {new['files']} files",
        "          not proved: both say this of themselves (python -m bundle verify proves it)",
    ]
    lines += ["", "WATCH", *(f"  ! {line}" for line in found["watch"])] if found["watch"] else []
    lines.append("")
    for key, title in TITLES.items():
        rows = [f"  {LABELS.get(name, name)}: {_shown(name, change)}" for name, change in found[key].items()]
        lines += [title, *rows] if rows else [f"{title}: unchanged"]
    lines += _package_lines(found["packages"])
    for key, title in (("service", "SERVICE"), ("model_files", "MODEL FILES")):
        lines += _file_lines(title, found[key])
    return "\n".join(lines)


def _title(head: Value) -> str:
    signed = f"signed with {', '.join(head['signed_by'])}" if head["signed_by"] else "NOT SIGNED"
    delta = f", a delta on {head['base']}" if head["base"] else ""
    return f"{head['name']}, sequence {head['sequence']}, made {head['created']}, {signed}{delta}"


def _shown(name: str, change: Value) -> str:
    if name != "size" and not name.endswith("_bytes"):
        return f"{change['old']} -> {change['new']}"
    old, new = change["old"], change["new"]
    more = f" ({new - old:+,} bytes)" if size(old) == size(new) else ""
    return f"{size(old)} -> {size(new)}{more}"


def _package_lines(packages: Value) -> list[str]:
    counts = [f"{len(packages[kind])} {kind}" for kind in ("added", "removed", "changed")]
    lines = [f"PACKAGES: {', '.join(counts)}, {packages['unchanged']} unchanged"]
    lines += [f"  + {row['name']} {row['version']}  ({row['license']})" for row in packages["added"]]
    lines += [f"  - {row['name']} {row['version']}" for row in packages["removed"]]
    return lines + [_package_line(row["name"], row["old"], row["new"]) for row in packages["changed"]]


def _package_line(name: str, old: Value, new: Value) -> str:
    if old["version"] == new["version"]:
        change = f"{old['version']}: the same version, another file"
    else:
        change = f"{old['version']} -> {new['version']}"
    licence = f"  ({old['license']} -> {new['license']})" if old["license"] != new["license"] else ""
    return f"  ~ {name} {change}{licence}"


def _file_lines(title: str, files: Value) -> list[str]:
    marks = {"added": "+", "removed": "-", "changed": "~"}
    lines = [f"  {mark} {path}" for kind, mark in marks.items() for path in files[kind]]
    counts = ", ".join(f"{len(files[kind])} {kind}" for kind in marks)
    return [f"{title}: {counts}" if lines else f"{title}: unchanged", *lines]
