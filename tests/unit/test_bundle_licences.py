"""What a licence allows, in words: free only what is known to be free, and nothing forbidden ever called free."""

from __future__ import annotations

import pytest

from bundle import licences
from bundle.components import MODEL, SCRIPT, WHEEL, Component
from bundle.licences import CARE, FORBIDDEN, FREE, UNKNOWN, judge


@pytest.mark.parametrize(
    ("stated", "use"),
    [
        ("MIT", FREE),
        ("MIT License", FREE),
        ("BSD", FREE),
        ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", FREE),
        ("Apache-2.0 AND Apache-2.0 WITH LLVM-exception AND BSL-1.0", FREE),
        ("Apache Software License", FREE),
        ("PSF-2.0", FREE),
        ("ZPL-2.1", FREE),
        ("MPL-2.0", CARE),
        ("MPL-2.0 AND MIT", CARE),
        ("Apache-2.0 OR MPL-2.0", FREE),
        ("LGPL-3.0-or-later", CARE),
        ("GPL-3.0-only WITH GCC-exception-3.1", CARE),
        ("(MIT OR GPL-2.0-only) AND AGPL-3.0-only", CARE),
        ("CC-BY-SA-4.0", CARE),
        ("CC-BY-NC-4.0", FORBIDDEN),
        ("CC-BY-NC-SA-4.0", FORBIDDEN),
        ("MIT AND CC-BY-NC-4.0", FORBIDDEN),
        ("PolyForm-Noncommercial-1.0.0", FORBIDDEN),
        ("Some Non-Commercial Licence", FORBIDDEN),
        ("Tongyi Qianwen LICENSE (commercial use below 100 million monthly active users)", UNKNOWN),
        ("LicenseRef-Proprietary", UNKNOWN),
        ("MIT AND LicenseRef-Proprietary", UNKNOWN),
        ("MIT License, GNU General Public License", UNKNOWN),
        ("unknown", UNKNOWN),
        ("", UNKNOWN),
        ("MIT AND", UNKNOWN),
        ("((((", UNKNOWN),
        ("(" * 5000, UNKNOWN),
        ("MITx", UNKNOWN),
    ],
)
def test_a_licence_is_judged_by_what_it_allows(stated: str, use: str) -> None:
    found = judge(stated)
    assert found.use == use
    assert found.words


def test_what_its_owner_forbids_is_forbidden_whatever_it_is_called() -> None:
    assert judge("MIT", allows_commercial_use=False).use == FORBIDDEN


def component(kind: str, name: str, license: str, allowed: bool = True) -> Component:
    return Component(kind, name, "1.0", license, (), f"licenses/{kind}/{name}-1.0/", allowed)


COMPONENTS = [
    component(MODEL, "Qwen/Small", "Tongyi Qianwen RESEARCH LICENSE", allowed=False),
    component(WHEEL, "alpha", "MIT"),
    component(WHEEL, "beta", "MPL-2.0"),
    component(WHEEL, "gamma", "Something of Ours"),
    component(SCRIPT, "delta", "Apache-2.0 OR MPL-2.0"),
]
PATHS = [f"licenses/wheel/{name}-1.0/LICENSE" for name in ("alpha", "beta", "gamma")]
PATHS += ["licenses/model/Qwen/Small-1.0/LICENSE", "payload/app/x"]


def test_the_report_says_the_worst_first_and_where_the_texts_are() -> None:
    found = licences.report(COMPONENTS, PATHS)
    assert found["commercial_use"] is False
    uses = {row["name"]: row["use"] for row in found["components"]}
    expected = {"Qwen/Small": FORBIDDEN, "alpha": FREE, "beta": CARE, "gamma": UNKNOWN, "delta": FREE}
    assert uses == expected
    lines = licences.text("ferry-x", found).splitlines()
    assert lines[2] == "The model Qwen/Small"
    assert "NOT FOR COMMERCIAL USE" in lines[4]
    assert "licenses/model/Qwen/Small-1.0/LICENSE" in lines[5]
    order = ["Unknown:", "gamma 1.0", "with conditions", "beta 1.0", "Apache-2.0 OR MPL-2.0: delta", "MIT: alpha"]
    places = [next(n for n, line in enumerate(lines) if words in line) for words in order]
    assert places == sorted(places)
    assert lines[-1] == "No licence text in the bundle for: delta 1.0"


def test_a_bundle_of_free_things_may_be_used_commercially() -> None:
    free = [component(MODEL, "Qwen/Free", "Apache-2.0"), *COMPONENTS[1:2]]
    found = licences.report(free, PATHS)
    assert found["commercial_use"] is True
    assert "NOT FOR COMMERCIAL USE" not in licences.text("ferry-x", found)
