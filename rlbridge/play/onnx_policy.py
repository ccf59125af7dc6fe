"""A policy that onnxruntime plays: no torch, no trainer."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlbridge.play.actions import actions_of
from rlbridge.play.description import MAX_BYTES as MAX_DESCRIPTION_BYTES
from rlbridge.play.description import OUTPUTS, Description
from rlbridge.play.draw import raw_action
from rlbridge.play.encoding import Encoder
from rlbridge.play.network import MAX_OPERATIONS, output_shapes, work
from rlbridge.play.onnx_file import FLOAT, MAX_BYTES, UINT8, PolicyFileError, read_onnx


class OnnxPolicy:
    """Plays ``policy.onnx`` as its ``policy.json`` describes it; acts as the trainer's policy does.

    Args:
        model: the bytes of the ONNX file.
        description: what they are.
        seed: of the policy's own generator, which draws its actions where they are not deterministic.

    Attributes:
        largest_layer: the numbers of the network's largest layer, for one observation.

    Raises:
        PolicyFileError: the file is not what the description says, or not a policy; nothing of it was run.
        ModuleNotFoundError: onnxruntime is missing; says how to install it.

    Example:
        >>> policy = OnnxPolicy.load("runs/first/policy.onnx")          # doctest: +SKIP
        >>> policy.act(observation, deterministic=True)                 # doctest: +SKIP
    """

    def __init__(self, model: bytes, description: Description, seed: int = 0) -> None:
        self.description = description
        self.encoder = Encoder(description.observation_space)
        self.actions = actions_of(description.action_space)
        self.largest_layer = check_model(model, description)
        self._session = _session(model)
        self._names = list(OUTPUTS[description.kind])
        self.generator = np.random.default_rng(seed)

    @classmethod
    def load(cls, path: str | Path, seed: int = 0) -> OnnxPolicy:
        """The policy in ``path`` (``*.onnx``), described by the ``*.json`` beside it.

        Raises:
            PolicyFileError: one of the two is missing, torn, altered or no policy; names the file.
        """
        path = Path(path)
        beside = path.with_suffix(".json")
        if path.suffix != ".onnx":
            raise PolicyFileError(f"{path} is no policy file: its name should end in .onnx.")
        try:
            model = _read(path, MAX_BYTES)
            description = Description.from_json(_read(beside, MAX_DESCRIPTION_BYTES))
            return cls(model, description, seed)
        except PolicyFileError as error:
            raise PolicyFileError(f"{path} (with {beside.name}) is not played: {error}") from None

    def act(self, observation: Any, deterministic: bool = False) -> NDArray[Any]:
        """The action for one raw observation, or actions for a batch of them (a leading axis more).

        Args:
            observation: as the environment (or vector environment) gives it.
            deterministic: take the likeliest action instead of drawing one.

        Returns:
            An action that the environment's ``step`` takes: its shape, dtype, numbering and bounds.
        """
        batched = self.encoder.is_batch(observation)
        rows = self.encoder.batch(observation) if batched else self.encoder.single(observation)[None]
        action = self.actions.to_environment(self.raw(rows, deterministic))
        return action if batched else action[0]

    def raw(self, encoded: NDArray[Any], deterministic: bool) -> NDArray[Any]:
        """Raw actions ``[B, width]`` for encoded observations ``[B, *shape]``."""
        generator = None if deterministic else self.generator
        return raw_action(self.description.kind, self.outputs(encoded), self.actions, generator)

    def outputs(self, encoded: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """What the network says of encoded observations ``[B, *shape]``, by name."""
        return dict(zip(self._names, self._session.run(self._names, {"observation": encoded}), strict=True))

    def repeated(self) -> Repeated:
        """As ``outputs``, for one thread that asks again and again for as many observations."""
        return Repeated(self._session, self._names, self.encoder)

    def try_out(self, encoded: NDArray[Any], seconds: float) -> bool:
        """Run the network once; False if it was stopped, between two of its layers, for taking longer than that.

        Raises:
            PolicyFileError: it cannot be run.
        """
        import onnxruntime

        options, late = onnxruntime.RunOptions(), threading.Event()

        def stop() -> None:
            late.set()
            options.terminate = True

        watch = threading.Timer(seconds, stop)
        watch.daemon = True
        watch.start()
        try:
            self._session.run(self._names, {"observation": encoded}, options)
        except Exception as error:  # onnxruntime's own classes have no common base but this
            if late.is_set():
                return False
            raise PolicyFileError(f"onnxruntime cannot run the network: {str(error)[:300]}") from None
        finally:
            watch.cancel()
        return True


class Repeated:
    """Runs a network on the same number of observations, step after step: the memory for what goes in and comes out is
    named to onnxruntime once, which takes a quarter off the time of a small network."""

    def __init__(self, session: Any, names: list[str], encoder: Encoder) -> None:
        self._session, self._names, self.encoder = session, names, encoder
        self._binding = session.io_binding()
        self._input: NDArray[Any] | None = None
        self._outputs: dict[str, NDArray[np.float32]] = {}

    def __call__(self, encoded: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """What the network says of encoded observations ``[B, *shape]``, by name."""
        if self._input is None or self._input.shape != encoded.shape:
            return self._first(encoded)
        self._input[...] = encoded
        self._session.run_with_iobinding(self._binding)
        return {name: value.copy() for name, value in self._outputs.items()}

    def _first(self, encoded: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """The same without a binding, which tells the shapes of what comes out."""
        results = self._session.run(self._names, {"observation": encoded})
        self._input, self._outputs = (
            np.empty_like(encoded),
            dict(zip(self._names, map(np.empty_like, results), strict=True)),
        )
        for bind, name, value in (
            (self._binding.bind_input, "observation", self._input),
            *((self._binding.bind_output, name, value) for name, value in self._outputs.items()),
        ):
            bind(name, "cpu", 0, value.dtype, value.shape, value.ctypes.data)
        return dict(zip(self._names, results, strict=True))


def check_model(model: bytes, description: Description) -> int:
    """Raise PolicyFileError unless ``model`` is the network that ``description`` is of; nothing of it is run. Returns
    the numbers of its largest layer, for one observation."""
    found = hashlib.sha256(model).hexdigest()
    if found != description.sha256:
        raise PolicyFileError(
            f"the ONNX file's sha256 is {found[:16]}..., its description is of {description.sha256[:16]}...: one of "
            "the two was replaced or is torn. Export both again."
        )
    file = read_onnx(model)
    encoder, actions = Encoder(description.observation_space), actions_of(description.action_space)
    wanted = [("observation", UINT8 if encoder.image else FLOAT, [None, *encoder.shape])]
    inputs = [(value.name, value.element, value.shape) for value in file.inputs]
    if inputs != wanted:
        raise PolicyFileError(
            f"the network takes {str(inputs)[:300]} (name, element type, shape), its description says {wanted}."
        )
    names = tuple(value.name for value in file.outputs)
    if names != OUTPUTS[description.kind]:
        raise PolicyFileError(
            f"the network gives {names[:10]}; a {description.kind} policy {OUTPUTS[description.kind]}."
        )
    shapes = output_shapes(file, encoder.shape)
    for value in file.outputs:
        if value.element != FLOAT or shapes.get(value.name) != (actions.numbers,):
            raise PolicyFileError(
                f"the network's {value.name} has shape {shapes.get(value.name)} a row; actions of "
                f"{description.action_space} need float32 of {(actions.numbers,)}."
            )
    operations, largest = work(file, shapes)
    if operations > MAX_OPERATIONS:
        raise PolicyFileError(
            f"the network takes {operations:,} multiplications for one observation; {MAX_OPERATIONS:,} are allowed."
        )
    return largest


def _session(model: bytes) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise ModuleNotFoundError(
            "playing a policy file needs onnxruntime: pip install 'rlbridge-toolkit[play]'", name="onnxruntime"
        ) from None
    options = onnxruntime.SessionOptions()
    # Networks are small: a second thread would only wait, and burn a core while it does.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised; nothing is printed beside it
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes have no common base but this
        raise PolicyFileError(f"onnxruntime does not take the network: {str(error)[:300]}") from None


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        reason = "there is none" if missing else error.strerror or str(error)
        raise PolicyFileError(f"{path} cannot be read: {reason}.") from None
    if len(data) > most:
        raise PolicyFileError(f"{path} is larger than {most:,} bytes, the most that a policy may have.")
    return data
