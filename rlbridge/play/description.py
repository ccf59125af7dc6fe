"""``policy.json``: what a policy file is of, what goes in, what comes out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gymnasium import spaces

from rlbridge.play.actions import Ranges, actions_of
from rlbridge.play.encoding import Encoder, UnsupportedSpace
from rlbridge.play.onnx_file import PolicyFileError
from rlbridge.play.space_state import space_from_json, space_to_json

FORMAT = 1
MAX_BYTES = 16 * 1024 * 1024

OUTPUTS = {
    "categorical": ("logits",),
    "greedy": ("q_values",),
    "gaussian": ("mean", "log_std"),
    "squashed_gaussian": ("mean", "log_std"),
    "deterministic": ("action",),
}
"""The kinds of policy, and the names of what each network gives; see docs/policies.md for their shapes."""


@dataclass(frozen=True)
class Description:
    """What ``policy.json`` says of the ``policy.onnx`` beside it.

    Attributes:
        kind: one of :data:`OUTPUTS`.
        observation_space, action_space: of a single environment.
        sha256: of the ONNX file's bytes, in hexadecimal.
        algorithm: what trained it.
        steps: transitions it was trained on.
        target, kwargs: where it was trained; kwargs are a local target's arguments.
        evaluation: ``seed`` and ``num_envs`` of the episodes that ``rlbridge evaluate`` plays if not told otherwise.
        score: ``last`` (mean return of the last evaluation while training, None if there was none), ``last_at`` (its
            step), ``best``.
        normalised: whether the network shifts and scales its observations itself.
        git: the commit of the folder that training ran in. versions: of the packages it ran with.
    """

    kind: str
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    sha256: str
    algorithm: str
    steps: int
    target: str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, int] = field(default_factory=dict)
    score: dict[str, float | None] = field(default_factory=dict)
    normalised: bool = False
    git: str | None = None
    versions: dict[str, str | None] = field(default_factory=dict)

    def to_json(self) -> str:
        """The text of ``policy.json``; spaces and action scales are written out for readers without rlbridge."""
        encoder, actions = Encoder(self.observation_space), actions_of(self.action_space)
        tree = {name: value for name, value in self.__dict__.items() if not name.endswith("_space")}
        action: dict[str, Any] = {"space": space_to_json(self.action_space), "width": actions.width}
        if isinstance(actions, Ranges):
            action.update(centre=actions.centre.tolist(), half_range=actions.half_range.tolist())
        else:
            action.update(classes=actions.classes.tolist())
        return json.dumps(
            {
                "format": FORMAT,
                **tree,
                "outputs": list(OUTPUTS[self.kind]),
                "observation": {
                    "space": space_to_json(self.observation_space),
                    "shape": list(encoder.shape),
                    "dtype": str(encoder.dtype),
                },
                "action": action,
            },
            indent=1,
            allow_nan=False,
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Description:
        """Read what :meth:`to_json` wrote.

        Raises:
            PolicyFileError: it is none, or of another format; says what is wrong with which field.
        """
        if len(text) > MAX_BYTES:
            raise PolicyFileError(f"the description has {len(text):,} bytes; {MAX_BYTES:,} are allowed.")
        try:
            tree = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PolicyFileError(f"the description is torn or no JSON: {error}.") from None
        if not isinstance(tree, dict) or tree.get("format") != FORMAT:
            found = tree.get("format") if isinstance(tree, dict) else tree
            raise PolicyFileError(
                f"the description has format {str(found)[:100]!r}; this version of rlbridge reads {FORMAT}."
            )
        kind = _field(tree, "kind", str)
        if kind not in OUTPUTS:
            raise PolicyFileError(f"kind is {kind[:100]!r}; known are {', '.join(OUTPUTS)}.")
        described = cls(
            kind,
            _space(tree, "observation"),
            _space(tree, "action"),
            _field(tree, "sha256", str),
            _field(tree, "algorithm", str),
            _field(tree, "steps", int),
            _field(tree, "target", str, None),
            _field(tree, "kwargs", dict, {}),
            _numbers(tree, "evaluation"),
            _field(tree, "score", dict, {}),
            _field(tree, "normalised", bool, False),
            _field(tree, "git", str, None),
            _field(tree, "versions", dict, {}),
        )
        try:
            Encoder(described.observation_space)
            ranges = isinstance(actions_of(described.action_space), Ranges)
        except UnsupportedSpace as error:
            raise PolicyFileError(f"the description names a space that no policy has: {error}") from None
        if ranges == (kind in ("categorical", "greedy")):
            raise PolicyFileError(f"kind {kind!r} does not go with actions of {described.action_space}.")
        return described


_REQUIRED: Any = object()


def _field(tree: Mapping[str, Any], name: str, wanted: type, default: Any = _REQUIRED) -> Any:
    value = tree.get(name, default)
    if value is default and default is not _REQUIRED:
        return value
    if not isinstance(value, wanted) or isinstance(value, bool) != (wanted is bool):
        found = "missing" if value is _REQUIRED else f"{str(value)[:100]!r}"
        raise PolicyFileError(f"{name} is {found}; it should be a {wanted.__name__}.")
    return value


def _numbers(tree: Mapping[str, Any], name: str) -> dict[str, int]:
    found = _field(tree, name, dict, {})
    least = {"seed": 0, "num_envs": 1}
    for key, number in least.items():
        if not number <= _field(found, key, int, number) < 2**63:
            raise PolicyFileError(f"{name}.{key} is {found[key]}; it should be {number} or more.")
    return {key: found[key] for key in least if key in found}


def _space(tree: Mapping[str, Any], name: str) -> spaces.Space[Any]:
    try:
        return space_from_json(_field(tree, name, dict).get("space"))
    except PolicyFileError:
        raise
    except Exception as error:  # gymnasium asserts, numpy overflows: whatever it is, the description is no good
        raise PolicyFileError(f"{name}.space describes no space: {str(error)[:300]}") from None
