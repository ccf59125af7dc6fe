"""Training: PPO in PyTorch, on any vector environment that Gymnasium or rlbridge's client makes.

A learner knows batches, a collector knows environments, a trainer knows time; a policy is one module with raw
observations in and environment actions out.
"""

try:
    import safetensors  # noqa: F401
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"training needs torch: pip install 'rlbridge-toolkit[train]' ({error.name} is missing)", name=error.name
    ) from None

from rlbridge.learn.checkpoint import CheckpointError
from rlbridge.learn.policy import Policy, weights_digest
from rlbridge.learn.run import Run, load_run, resume, train
from rlbridge.learn.stops import Stopped
from rlbridge.play.actions import NotFinite
from rlbridge.play.encoding import UnsupportedSpace
from rlbridge.play.evaluate import Evaluation, evaluate
from rlbridge.runs.folder import RunFolderError

__all__ = [
    "CheckpointError",
    "Evaluation",
    "NotFinite",
    "Policy",
    "Run",
    "RunFolderError",
    "Stopped",
    "UnsupportedSpace",
    "evaluate",
    "load_run",
    "resume",
    "train",
    "weights_digest",
]
