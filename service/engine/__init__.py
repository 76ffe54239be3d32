"""The engine: torch and the weights behind a unix socket, no network, no database."""
