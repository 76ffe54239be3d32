"""The decode step as machine code: written with numba, compiled at install for the server's CPU, loaded at start."""
