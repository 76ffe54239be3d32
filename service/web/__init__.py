"""The web tier: accounts, conversations, the chat page and the OpenAI-compatible endpoints. No torch in here.

In: HTTP from browsers and API clients. Out: HTTP, rows in the database, lines in the audit log.
Left to others: generating text (service.engine, reached over HTTP), paths and settings (service.paths, service.config).
"""

# Where __main__ puts NOTIFY_SOCKET out of gunicorn's sight, and the worker finds it.
HIDDEN_NOTIFY_SOCKET = "FERRY_NOTIFY_SOCKET"
