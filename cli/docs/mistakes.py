"""Owns the reference of errors: codes of the envelope, what they mean to a caller, and the command's exit codes."""

from __future__ import annotations

import re
from typing import Final

from catalog.contract import STATUS, ErrorCode
from cli.docs.markdown import code, made_by, table
from cli.errors import EPILOG

MEANINGS: Final[dict[ErrorCode, tuple[str, str]]] = {
    ErrorCode.INVALID_REQUEST: (
        "The request is not valid. `details` names `field` and `issue`.",
        "Correct the field. Do not repeat it unchanged.",
    ),
    ErrorCode.UNAUTHENTICATED: (
        "There is no credential, or it is wrong, expired or revoked.",
        "Log in again, or use another API key.",
    ),
    ErrorCode.FORBIDDEN: ("The credential is good, but may not do this.", "Ask an administrator."),
    ErrorCode.NOT_FOUND: ("There is nothing at this path.", "Check the path."),
    ErrorCode.AGENT_NOT_FOUND: ("There is no such agent.", "Search for it: `GET /api/v1/agents?q=…`."),
    ErrorCode.METHOD_NOT_ALLOWED: ("The path does not take this method.", "The header `Allow` names those it takes."),
    ErrorCode.CONFLICT: ("It is there already, or something else forbids it.", "Read `message`: it says what."),
    ErrorCode.REQUEST_TOO_LARGE: ("The body is larger than 1 MiB.", "Send less."),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: ("The body is not JSON.", "Send `Content-Type: application/json`."),
    ErrorCode.RATE_LIMIT_EXCEEDED: (
        "The user's requests of this minute are used up, or one address sends too many.",
        "Wait `retry_after` seconds.",
    ),
    ErrorCode.INTERNAL_ERROR: ("Something went wrong in the platform.", "Report it with its request id."),
    ErrorCode.MODEL_ERROR: (
        "The model API failed, could not be reached, or refused the platform's credential.",
        "Try again later. Operators: [AgentDown](../RUNBOOK.md#agentdown).",
    ),
    ErrorCode.MODEL_UNAVAILABLE: (
        "The model API does not know the agent's model.",
        "Operators: correct the model's id.",
    ),
    ErrorCode.AGENT_DISABLED: ("An operator turned the agent off.", "Use another agent, or ask its owner."),
    ErrorCode.AGENT_QUARANTINED: (
        "Executing the agent ended its process several times, so it is held back for a while.",
        "Wait `retry_after` seconds. Operators: [AgentQuarantined](../RUNBOOK.md#agentquarantined).",
    ),
    ErrorCode.AGENT_UNAVAILABLE: (
        "The process that should serve the agent could not load its definition.",
        "Use another agent, or tell its owner. Operators: [AgentDown](../RUNBOOK.md#agentdown).",
    ),
    ErrorCode.OVERLOADED: (
        "Too many executions run at once, of this agent or in its process.",
        "Wait `retry_after` seconds.",
    ),
    ErrorCode.SERVICE_UNAVAILABLE: (
        "The platform, one of its stores or the model API cannot take requests.",
        "Wait `retry_after` seconds.",
    ),
    ErrorCode.BAD_GATEWAY: ("The gateway reaches no process that serves the agent.", "Try again; then report it."),
    ErrorCode.TIMEOUT: (
        "The model, or the process behind the gateway, did not answer in time.",
        "Ask for less, or try again.",
    ),
}
"""Of each code: what it means, what a caller does."""


def page() -> str:
    """docs/reference/errors.md."""
    rows = (
        (code(error), STATUS[error], *MEANINGS[error])
        for error in sorted(ErrorCode, key=lambda each: (STATUS[each], each))
    )
    exits = re.findall(r"(\d+) ([^·]+?)(?: ·|\.$)", EPILOG.partition(":")[2])
    return "\n".join(
        (
            made_by("catalog/contract.py and cli/errors.py"),
            "# Errors\n",
            "Every answer of 400 and above has one body, whether the gateway, control or an agent says it:\n",
            '```json\n{"error": {"code": "RATE_LIMIT_EXCEEDED", "message": "Rate limit exceeded. Retry after 42 seconds", "retry_after": 42}}\n```\n',
            "`code` and `message` are always there. `details` holds facts such as `field` and `issue`. `retry_after` is in "
            "seconds, and the header `Retry-After` says the same. No error repeats a value that was refused, or tells of "
            "the platform's inside. The header `X-Request-Id` names the request in logs and audit.\n",
            "## Codes\n",
            "The gateway also answers some requests that are not valid HTTP with `INVALID_REQUEST` under the status that "
            "fits (400, 411, 414, 431, 501 or 505), and another host's with `NOT_FOUND` under 421.\n",
            table(("Code", "Status", "Meaning", "What to do"), rows),
            "The audit knows one more, `CLIENT_CLOSED_REQUEST` (499): the caller hung up, so nobody was answered.\n",
            "## Exit codes of fleet\n",
            table(("Code", "Meaning"), exits),
        )
    )
