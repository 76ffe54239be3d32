"""The decode step as machine code: written with numba, compiled at install for the server's own CPU, loaded at start."""
