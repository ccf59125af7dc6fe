"""Sessions as files: written while they are served, read again, served again, handed on as a Minari dataset.

A recording is a folder: ``recording.json`` says of what, ``episodes.jsonl`` has a line for each episode (or part of a
long one), which names its ``.npz`` file. docs/recordings.md describes every field.
"""

from rlbridge.recordings.read import BadRecording, Episode, Recording
from rlbridge.recordings.replay import ReplayEnv
from rlbridge.recordings.write import EpisodeWriter, RecordingWriter

__all__ = ["BadRecording", "Episode", "EpisodeWriter", "Recording", "RecordingWriter", "ReplayEnv"]
