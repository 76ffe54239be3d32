"""`python -m installer` and `python install.pyz`: the same command."""

from installer.cli import main

if __name__ == "__main__":
    main()
