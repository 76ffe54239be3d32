"""Run the benchmarks and record what they found. See benchmarks/README.md."""

from benchmarks.bundle import main

main()
