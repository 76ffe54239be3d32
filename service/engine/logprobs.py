"""How likely the tokens were, in the two forms that OpenAI has for it: a chat's and a plain completion's."""

from collections.abc import Sequence
from typing import Any

from service.engine.jobs import TokenLogprob

# JSON has no infinity; OpenAI writes this for a token that cannot come.
NEVER = -9999.0


def chat_logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    """https://platform.openai.com/docs/api-reference/chat/object#chat/object-choices-logprobs."""
    content = [{**_token(token), "top_logprobs": [_token(other) for other in token.top]} for token in tokens]
    return {"content": content, "refusal": None}


def plain_logprobs(tokens: Sequence[TokenLogprob], offset: int) -> dict[str, Any]:
    """https://platform.openai.com/docs/api-reference/completions/object; `offset` is the text's before these tokens."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [_finite(token.logprob) for token in tokens],
        # The chosen token is always among them, so there may be one more than asked for.
        "top_logprobs": [{other.text: _finite(other.logprob) for other in (*token.top, token)} for token in tokens],
        "text_offset": offsets,
    }


def _token(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.text, "logprob": _finite(token.logprob), "bytes": list(token.raw)}


def _finite(logprob: float) -> float:
    return max(logprob, NEVER)
