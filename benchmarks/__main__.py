"""Run the benchmarks, all or those that are named, and record what they found. See benchmarks/README.md."""

import importlib
import sys

# In this order; `compiled` and `conformance` need a C++ compiler, and run only when they are named.
PARTS = ("bundle", "install", "engine", "cancels", "overload", "web", "audit")

for name in sys.argv[1:] or PARTS:
    print(f"== {name}")
    # Not all at once: a child begins with this program's memory, and that of the first parts is judged.
    importlib.import_module(f"benchmarks.{name}").main()
