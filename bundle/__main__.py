"""`python -m bundle`: hands the command line to bundle.cli."""

from bundle.cli import main

main()
