"""A recording as a Minari dataset, for offline learning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlbridge.recordings.read import Recording

try:
    import minari
    from minari.data_collector import EpisodeBuffer
except ModuleNotFoundError as error:
    if error.name not in ("minari", "h5py"):
        raise
    raise ModuleNotFoundError(
        f"exporting to Minari needs {error.name}: pip install 'rlbridge-toolkit[minari]'", name=error.name
    ) from error


def to_minari(folder: str | Path, dataset_id: str, description: str = "") -> Any:
    """Make a dataset in Minari's folder (MINARI_DATASETS_PATH, else ~/.minari/datasets); returns the MinariDataset.

    Observations, actions, rewards, terminations, truncations and seeds are the recorded ones, images without loss.
    Episodes without a step are left out; one that did not end by itself is marked as truncated after its last step.
    Infos stay in the recording: Minari wants the same ones in every step.

    Args:
        folder: of the recording.
        dataset_id: such as ``factory/line-v0``.
        description: for people.

    Raises:
        BadRecording: the folder holds none.
        ValueError: the id is taken, or no episode has a step.
    """
    recording = Recording(folder)
    if dataset_id in minari.list_local_datasets():
        raise ValueError(f"there is a Minari dataset {dataset_id!r} already; `minari delete {dataset_id}` removes it")
    buffers: list[EpisodeBuffer] = []
    for index in range(len(recording.episodes)):
        episode = recording.load(index)
        steps = len(episode.actions)
        if steps == 0:
            continue
        terminated = [False] * (steps - 1) + [episode.end == "terminated"]
        truncated = [False] * (steps - 1) + [episode.end != "terminated"]
        observations, actions = recording.observations, recording.actions
        buffers.append(
            EpisodeBuffer(
                id=len(buffers),
                seed=episode.seed,
                observations=observations.unpack_batch(observations.join(episode.observations), steps + 1),
                actions=actions.unpack_batch(actions.join(episode.actions), steps),
                rewards=episode.rewards.tolist(),
                terminations=terminated,
                truncations=truncated,
            )
        )
    if not buffers:
        raise ValueError(f"{str(folder)!r}: no recorded episode has a step")
    return minari.create_dataset_from_buffers(
        dataset_id,
        buffers,
        observation_space=recording.observations.space,
        action_space=recording.actions.space,
        description=description or f"A recording of {recording.environment}, by rlbridge",
        jpeg_encoding=False,
    )
