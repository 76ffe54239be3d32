"""The server side: bundle -> verify -> unpack -> venv -> units -> health."""
