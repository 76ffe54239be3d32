"""Run the benchmarks, all or those that are named, and record what they found. See benchmarks/README.md."""

import sys

from benchmarks import bundle, install

PARTS = {"bundle": bundle.main, "install": install.main}

for name in sys.argv[1:] or PARTS:
    print(f"== {name}")
    PARTS[name]()
