"""Whole training loops on environments that a test brings along."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rlbridge.config import load_config
from rlbridge.learn.trainer import Trainer

_count = itertools.count()


def trainer_for(folder: Path, envs: Any, network: dict[str, Any] | None = None, **algorithm: Any) -> Trainer:
    """A trainer on ``envs``, vectorised in whatever way; it neither evaluates nor saves before the end."""
    sections = {
        "env": {"num_envs": envs.num_envs},
        "algorithm": algorithm,
        "network": network or {"hidden": [8]},
        "evaluation": {"every": 0},
        "checkpoint": {"every": 0},
        "run": {"dir": str(folder), "name": f"run-{next(_count)}", "tensorboard": False},
    }
    with patch("rlbridge.learn.trainer.make_training_envs", lambda config: envs):
        return Trainer(load_config(sections), progress=False)


def trained(folder: Path, envs: Any, network: dict[str, Any] | None = None, **algorithm: Any) -> Trainer:
    """The same after its last step."""
    trainer = trainer_for(folder, envs, network, **algorithm)
    with patch("rlbridge.learn.trainer.draw_curve"):  # a picture takes longer than the training here
        trainer.run()
    return trainer
