"""A conversation as a file to keep: the branch that is shown as Markdown, or everything as JSON. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from service.web.models import Message

MAX_NAME = 60


def markdown(title: str, messages: Sequence[Message], words: Mapping[str, str]) -> str:
    """Write the messages one below the other; `words` are those of the page in the reader's language."""
    parts = [f"# {title or words['new_conversation']}"]
    for message in messages:
        parts.append(f"## {words['you'] if message.role == 'user' else words['model']}")
        parts += [message.content.strip()] if message.content.strip() else []
        if message.state != "complete":
            parts.append(f"*{words['state_' + message.state]}*")
    return "\n\n".join(parts) + "\n"


def plain_json(conversation: Mapping[str, Any]) -> str:
    return json.dumps(conversation, ensure_ascii=False, indent=2) + "\n"


def file_name(title: str, ending: str) -> str:
    """Name the file for its title, in characters that every system takes."""
    name = re.sub(r'[\x00-\x1f\x7f"*/:<>?\\|\u2028-\u202e]+', " ", title)
    name = " ".join(name.split())[:MAX_NAME].strip(" .")
    return f"{name or 'conversation'}.{ending}"
