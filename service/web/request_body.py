"""The body of a request that has to be a JSON object."""

from __future__ import annotations

import json
from typing import Any

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from service.web.errors import Refusal


def json_object() -> dict[str, Any]:
    """Return the request's body. Raises: Refusal 400 when it is no JSON object, RequestEntityTooLarge."""
    data = request.get_data(cache=False)
    # A body of unknown length is not refused by Werkzeug but cut off where the limit is.
    if request.content_length is None and len(data) >= (request.max_content_length or 0):
        raise RequestEntityTooLarge
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "bad_json", "The body of the request is not JSON.") from error
    if not isinstance(body, dict):
        raise Refusal(400, "bad_json", "The body of the request is no JSON object.")
    return body
