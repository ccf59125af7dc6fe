"""``policy.onnx`` and ``policy.json``: a policy for whoever plays it without torch."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from rlbridge.config import RunConfig
from rlbridge.learn.distributions import LOG_STD_RANGE, Categorical, DiagonalGaussian, SquashedGaussian
from rlbridge.learn.metrics import read_metric
from rlbridge.learn.policy import Policy
from rlbridge.learn.seeds import Seeds
from rlbridge.play.description import Description
from rlbridge.play.onnx_policy import OnnxPolicy
from rlbridge.runs.folder import RunFolder
from rlbridge.version import __version__

TOLERANCE = 1e-5
"""How far onnxruntime and torch may be apart, relative to the largest number the last two layers have (at least 1)."""
TRIED, BATCH = 1_000, 100
_WIDE = 1e6  # bounds further out than this say nothing about where observations are


class ExportError(ValueError):
    """The exported policy does not do what the policy does; nothing was written."""


def export_policy(policy: Policy, config: RunConfig, folder: RunFolder, steps: int, out: Path) -> Description:
    """Write ``out`` and its description beside it, once onnxruntime was seen to agree with torch.

    Each is moved into place whole, the ONNX file first; its sum in the description tells whether they belong together.

    Args:
        policy: as it is now.
        config, folder: of the run it is from.
        steps: transitions it was trained on.
        out: ``*.onnx``, in a folder that exists; earlier files are replaced.

    Raises:
        ExportError: they do not agree; says where and by how much.
        ModuleNotFoundError: onnx or onnxruntime is missing; says how to install it.
    """
    try:
        from rlbridge.learn.onnx_graph import kind_of, policy_model
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise ModuleNotFoundError(
            "exporting a policy needs onnx: pip install 'rlbridge-toolkit[train]'", name="onnx"
        ) from None
    model = policy_model(policy)
    description = replace(_describe(policy, config, folder, steps, kind_of(policy)), sha256=_sha256(model))
    verify(policy, OnnxPolicy(model, description))
    _replace(out, model)
    _replace(out.with_suffix(".json"), description.to_json().encode())
    return description


def export_at_end(policy: Policy, config: RunConfig, folder: RunFolder, steps: int) -> str:
    """Export into the run folder, and say in a line what came of it: a run that ended well must not fail by this."""
    try:
        export_policy(policy, config, folder, steps, folder.policy)
    except Exception as error:
        return f"no {folder.policy.name} was written: {error}"
    return f"the policy, for use without torch: {folder.policy}"


def verify(policy: Policy, played: OnnxPolicy) -> float:
    """Compare with torch on ``TRIED`` observations over the observation space and beyond it.

    Returns:
        The largest difference, relative to what :data:`TOLERANCE` is relative to.

    Raises:
        ExportError: it is larger than that, or a greedy action differs where it is no tie.
    """
    if policy.device.type != "cpu":
        # A GPU may round convolutions to 10 bits (TF32), by itself further off than what is allowed here.
        policy = copy.deepcopy(policy).cpu()
    largest = 0.0
    for rows in _observations(policy):
        with torch.inference_mode():
            features = policy.features(torch.from_numpy(rows).to(policy.device))
            raw = policy.head(features)
            mode = policy.distribution.mode(raw).cpu().numpy()
            expected = {name: value.cpu().numpy() for name, value in _named(policy, raw).items()}
            scale = max(1.0, float(features.abs().max()), float(raw.abs().max()))
        given = played.outputs(rows)
        for name, value in expected.items():
            # Choices that there are not have -1e9 on both sides; that must not count as the scale of the others.
            there = ~(value < -1e8)  # so that NaN counts
            difference = float(np.abs(np.where(there, given[name] - value, 0.0)).max()) / scale
            if not difference <= TOLERANCE or (given[name][~there] > -1e8).any():
                raise ExportError(
                    f"{name} of onnxruntime and torch differ by {difference:.3g} of their scale {scale:.3g}; "
                    f"{TOLERANCE:g} is allowed. The policy is not finite, or this is a bug: nothing was written."
                )
            largest = max(largest, difference)
        action = played.raw(rows, deterministic=True)
        if policy.actions.dtype == np.int64:
            different = (action != mode) & ~_tied(expected[next(iter(expected))], policy, 2.0 * TOLERANCE * scale)
        else:
            different = ~(np.abs(action - mode) <= TOLERANCE * scale)
        if different.any():
            at = int(np.argwhere(different)[0][0])
            raise ExportError(
                f"onnxruntime acts {action[at].tolist()} and torch {mode[at].tolist()} at the observation "
                f"{rows[at].reshape(-1)[:20].tolist()}. This is a bug: nothing was written."
            )
    return largest


def _named(policy: Policy, raw: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the file's outputs should be, where the network's are ``raw``."""
    distribution = policy.distribution
    if isinstance(distribution, Categorical):
        return {"logits": raw if distribution.mask is None else raw + distribution.mask.flatten()}
    if isinstance(distribution, DiagonalGaussian):
        return {"mean": raw, "log_std": distribution.log_std}
    if isinstance(distribution, SquashedGaussian):
        mean, log_std = raw.chunk(2, -1)
        return {"mean": mean, "log_std": log_std.clamp(*LOG_STD_RANGE)}
    return {"q_values": raw} if policy.actions.dtype == np.int64 else {"action": distribution.mode(raw)}


def _tied(values: NDArray[np.float32], policy: Policy, gap: float) -> NDArray[np.bool_]:
    """``[B, width]``: whether the two largest of a choice's values are within ``gap``."""
    ordered = np.sort(values.reshape(len(values), policy.actions.width, -1), axis=-1)
    return ordered[..., -1] - ordered[..., -2] <= gap


def _observations(policy: Policy) -> Iterator[NDArray[Any]]:
    """Encoded observations in batches: within the space's bounds, up to twice, and up to a hundred times as far out.

    Where there are no bounds, around what was seen in training, if that is known.
    """
    generator, encoder = np.random.default_rng(0), policy.encoder
    flat = spaces.flatten_space(encoder.space)
    assert isinstance(flat, spaces.Box)
    low, high = flat.low.astype(np.float64), flat.high.astype(np.float64)
    bounded = (np.abs(low) < _WIDE) & (np.abs(high) < _WIDE)
    low, high = np.where(bounded, low, -1.0), np.where(bounded, high, 1.0)
    centre, half = (low + high) / 2, (high - low) / 2
    if policy.normaliser is not None:
        mean, deviation = (x.cpu().numpy() for x in (policy.normaliser.mean, policy.normaliser.variance.sqrt()))
        centre, half = np.where(bounded, centre, mean), np.where(bounded, half, 3.0 * deviation)
    for batch in range(TRIED // BATCH):
        if encoder.image:
            brightest = 256 if batch % 2 else 1 + 255 * batch // (TRIED // BATCH)
            yield generator.integers(0, brightest, (BATCH, *encoder.shape), np.uint8)
        else:
            reach = (1.0, 1.0, 2.0, 2.0, 100.0)[batch % 5]
            rows = centre + half * generator.uniform(-reach, reach, (BATCH, encoder.size))
            yield rows.astype(np.float32)


def _describe(policy: Policy, config: RunConfig, folder: RunFolder, steps: int, kind: str) -> Description:
    try:
        environment = json.loads(folder.environment.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        environment = {}
    versions = environment.get("versions", {})
    return Description(
        kind=kind,
        observation_space=policy.encoder.space,
        action_space=policy.actions.space,
        sha256="",
        algorithm=config.algorithm.name,
        steps=steps,
        target=config.env.target,
        kwargs=config.env.model_dump(mode="json")["kwargs"],
        evaluation={
            "seed": Seeds.from_run(config.run.seed).afterwards,
            "num_envs": config.evaluation.num_envs or config.env.num_envs,
        },
        score=_score(folder, steps),
        normalised=policy.normaliser is not None,
        git=environment.get("git"),
        versions={"rlbridge": __version__, "torch": versions.get("torch"), "gymnasium": versions.get("gymnasium")},
    )


def _score(folder: RunFolder, steps: int) -> dict[str, float | None]:
    """The evaluations up to ``steps``: the mean return of the last one, its step, and the best."""
    try:
        at, means = read_metric(folder, "eval/return_mean")
    except (OSError, ValueError):  # a run that was killed may leave half a line
        return {}
    means, at = means[at <= steps], at[at <= steps]
    return {"last": float(means[-1]), "last_at": int(at[-1]), "best": float(means.max())} if len(at) else {}


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.draft-{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
