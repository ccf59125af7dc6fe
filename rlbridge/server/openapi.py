"""The description of the plain JSON face: an OpenAPI 3.1 document, and a page for people made from it.

The page is plain HTML: it loads nothing, from here or elsewhere.
"""

from __future__ import annotations

import html
from typing import Any

from rlbridge.version import __version__

_SEQ = {
    "type": "integer",
    "minimum": 1,
    "description": "The request's number. With it, repeating the request gives the same answer and nothing is executed "
    "twice. Without it, the next one is taken, and a repeated request is a second request.",
}
_TOKEN = {"type": "string", "description": "The session's token, unless the header X-Session-Token has it."}
_FIELDS: dict[str, dict[str, Any]] = {
    "Open": {
        "env": {"type": "string", "description": "One of /v1/describe's environments; the first if absent."},
        "num_envs": {"type": "integer", "minimum": 0, "description": "0 (default): one environment. N: a batch of N."},
        "autoreset_mode": {"type": "string", "enum": ["next_step", "same_step", "disabled"]},
        "render_mode": {"type": "string", "description": "One of the environment's render_modes."},
        "lease_seconds": {"type": "integer", "minimum": 1, "description": "A silent session is closed after as long."},
        "open_key": {
            "type": "string",
            "minLength": 16,
            "description": "Random text of the caller's. Opening again with the same one gives the same session.",
        },
    },
    "Reset": {
        "seed": {"type": "integer", "minimum": 0, "description": "For a batch, row i is seeded with seed + i."},
        "seeds": {"type": "array", "items": {"type": ["integer", "null"]}, "description": "A batch: one a row."},
        "options": {"type": "object", "description": "Handed to the environment."},
        "reset_mask": {"type": "array", "items": {"type": "boolean"}, "description": "Mode disabled: rows to reset."},
        "seq": _SEQ,
        "token": _TOKEN,
    },
    "Step": {
        "action": {"description": "Shaped by the action space; for a batch, a list of N of them."},
        "seq": _SEQ,
        "token": _TOKEN,
    },
    "Render": {"seq": _SEQ, "token": _TOKEN},
    "KeepAlive": {"token": _TOKEN},
    "Close": {"token": _TOKEN},
    "Describe": {},
}
# The keys that each call's body may have; nothing else is taken.
BODIES: dict[str, list[str]] = {call: list(fields) for call, fields in _FIELDS.items()}

_OBSERVATION = {"description": "Shaped by the observation space; for a batch, a list of N of them."}
_HEAD = {"seq": {"type": "integer"}, "replayed": {"type": "boolean"}}
_ANSWERS: dict[str, dict[str, Any]] = {
    "Describe": {"server": {"type": "string"}, "limits": {"type": "object"}, "environments": {"type": "array"}},
    "Open": {
        "session": {"type": "string"},
        "token": {"type": "string", "description": "A secret: whoever has it holds the session."},
        "next_seq": {"type": "integer"},
        "lease_seconds": {"type": "number"},
        "observation_space": {"type": "object"},
        "action_space": {"type": "object"},
    },
    "Reset": {**_HEAD, "observation": _OBSERVATION, "info": {"type": "object"}},
    "Step": {
        **_HEAD,
        "observation": _OBSERVATION,
        "reward": {"description": "A number; for a batch, N of them."},
        "terminated": {"description": "true or false; for a batch, N of them."},
        "truncated": {"description": "true or false; for a batch, N of them."},
        "valid": {"description": "A batch: false for rows whose environment failed and was made anew. Absent: all."},
        "was_reset": {"description": "A batch, mode next_step: true for rows that are a reset. Absent: none."},
        "final_observation": {"type": "object", "description": "A batch, mode same_step: by row, where one ended."},
        "info": {"type": "object"},
    },
    "KeepAlive": {"lease_seconds": {"type": "number"}},
}
_CALLS = [
    ("get", "/v1/describe", "Describe", "What this server offers: environments, their spaces, limits."),
    ("post", "/v1/sessions", "Open", "Open a session: one environment, or a batch."),
    ("post", "/v1/sessions/{id}/reset", "Reset", "Begin an episode. A new session is reset before its first step."),
    ("post", "/v1/sessions/{id}/step", "Step", "Take one step."),
    ("post", "/v1/sessions/{id}/render", "Render", "The present frame: a PNG picture, text, or JSON for a batch."),
    (
        "post",
        "/v1/sessions/{id}/keepalive",
        "KeepAlive",
        "Renew the lease of a session that is only being thought about.",
    ),
    ("delete", "/v1/sessions/{id}", "Close", "Close a session. What is closed already stays so."),
]
_INTRODUCTION = (
    "Environments for reinforcement learning, one step a request. JSON has no number for some floats: they are the "
    'texts "NaN", "Infinity" and "-Infinity", in both directions. A Dict space is an object, a Tuple or Sequence a '
    'list, a OneOf {"index", "value"}, a Graph {"nodes", "edges", "edge_links"}. For programs there is the same as '
    "Connect calls at /rlbridge.v1.EnvService/, and a WebSocket."
)
_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "code": {"type": "string", "description": "invalid_argument, not_found, unavailable, ..."},
                "reason": {"type": "string", "description": "INVALID_ACTION, SESSION_EXPIRED, SEQ_CONFLICT, ..."},
                "message": {"type": "string", "description": "What happened, and what to do."},
                "details": {"type": "object"},
            },
        }
    },
}


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    paths: dict[str, Any] = {}
    for method, path, call, summary in _CALLS:
        paths.setdefault(path, {})[method] = _operation(path, call, summary)
    return {
        "openapi": "3.1.0",
        "info": {"title": "rlbridge", "version": __version__, "description": _INTRODUCTION},
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "If the server has any."}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(path: str, call: str, summary: str) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "Done."}
    if call in _ANSWERS:
        good["content"] = {"application/json": {"schema": {"type": "object", "properties": _ANSWERS[call]}}}
    elif call == "Render":
        good["content"] = {"image/png": {}, "text/plain": {}, "application/json": {}}
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    operation: dict[str, Any] = {
        "operationId": call,
        "summary": summary,
        "responses": {
            {"Open": "201", "Close": "204"}.get(call, "200"): good,
            "default": {"description": "Refused, or failed; the status is that of the code.", "content": problem},
        },
    }
    if "{id}" in path:
        operation["parameters"] = [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
            {"name": "X-Session-Token", "in": "header", "schema": {"type": "string"}},
        ]
    if _FIELDS[call]:
        required = ["action"] if call == "Step" else []
        schema: dict[str, Any] = {"type": "object", "properties": _FIELDS[call], "additionalProperties": False}
        schema["required"] = required
        operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    return operation


def page() -> str:
    """The same as HTML."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>rlbridge over HTTP</title>",
        "<style>body{font:16px/1.5 sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}",
        "code{background:#eee;padding:.1em .3em}td{padding:.1em 1em .1em 0;vertical-align:top}</style>",
        f"<h1>rlbridge {html.escape(__version__)} over HTTP</h1><p>{html.escape(_INTRODUCTION)}</p>",
        "<p>The same for machines: <a href=/openapi.json>/openapi.json</a></p>",
    ]
    for method, path, call, summary in _CALLS:
        parts.append(f"<h2><code>{method.upper()} {html.escape(path)}</code></h2><p>{html.escape(summary)}</p>")
        parts.append(_table("The body may have", _FIELDS[call]))
        parts.append(_table("The answer has", _ANSWERS.get(call, {})))
    parts.append(f"<h2>Errors</h2>{_table('error has', _ERROR['properties']['error']['properties'])}</html>")  # type: ignore[index]
    return "\n".join(parts)


def _table(title: str, fields: dict[str, Any]) -> str:
    if not fields:
        return ""
    rows = "".join(
        f"<tr><td><code>{html.escape(name)}</code><td>{html.escape(field.get('description', ''))}"
        for name, field in fields.items()
    )
    return f"<p>{title}:<table>{rows}</table>"
