"""Policies at the environment: what a session holds of them, and the loop in which they act.

The client's policy is ONNX, checked before anything of it runs (:mod:`rlbridge.play.onnx_file`), and runs in
onnxruntime on one thread. Actions take the same way as a client's: packed, checked, through a plant's gate.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rlbridge.gymnasium_versions import AutoresetMode
from rlbridge.server.environment import Environment, Outcome
from rlbridge.server.failure import FAILURES, environment_failure
from rlbridge.v1 import env_pb2
from rlbridge.wire.errors import BridgeError, InvalidPolicy, UnknownPolicy, Unsupported, WireError, encode_error

if TYPE_CHECKING:
    from rlbridge.play.actions import Actions
    from rlbridge.play.onnx_policy import OnnxPolicy, Repeated
    from rlbridge.play.sampling import Sampling

MAX_STEPS = 100_000
"""Of one request; what a message takes is usually far less."""
MAX_MODEL_BYTES = 64 * 1024 * 1024
_HELD = 2
_MAX_LAYER = 2**26  # numbers of one layer, all rows together: 256 MiB
_MAX_DRAWN = 2**22  # random numbers of one rollout: 32 MiB
_TRIALS = 3
_SLOWEST = 2.0  # seconds that a policy may take for one action of all rows


def available() -> bool:
    """Whether this installation can run policies."""
    return importlib.util.find_spec("onnxruntime") is not None


class Rollouts:
    """The policies of one session, running in its environment.

    Args:
        environment: a batch.
        largest: bytes that the answer to one step can take, infos not counted.
    """

    def __init__(self, environment: Environment, largest: int) -> None:
        self._environment, self._largest = environment, largest
        self._policies: OrderedDict[bytes, OnnxPolicy] = OrderedDict()
        self._walk: NDArray[np.float32] | None = None

    def hold(self, policy: env_pb2.Policy) -> bool:
        """Check a policy and keep it; False if it was there already.

        Raises:
            InvalidPolicy: it is refused, and those held are held on. Unsupported: there is no onnxruntime here.
        """
        self._require_batch()
        if policy.sha256 in self._policies:
            self._policies.move_to_end(policy.sha256)
            return False
        loaded = self._load(policy)
        self._policies[policy.sha256] = loaded
        if len(self._policies) > _HELD:
            self._policies.popitem(last=False)
        return True

    def forget_walk(self) -> None:
        """New episodes begin in all rows."""
        self._walk = None

    def run(
        self,
        request: env_pb2.RolloutRequest,
        observation: list[bytes],
        response: env_pb2.RolloutResponse,
        fill: Callable[[env_pb2.StepResponse, Outcome, int], None],
        room: int,
        closed: Callable[[], bool],
    ) -> None:
        """Step as often as was asked for, or until something ends it.

        Args:
            request: what to do.
            observation: the environment's latest, packed.
            response: filled in.
            fill: fills in the answer to one step, of its outcome and the nanoseconds it took.
            room: bytes that the answer may take.
            closed: whether the session has been closed meanwhile.

        Raises:
            BridgeError: before the first step was over; later ones are in the answer, behind the steps that were done.
        """
        policy, sampling = self._prepare(request)
        network = None if policy is None else policy.repeated()
        if self._largest > room:
            raise WireError(f"not one step's answer fits into a message of {room} bytes")  # Open has checked this
        rows = self._environment.num_envs
        response.seq, response.policy_version = request.seq, request.policy.version
        raws: list[NDArray[Any]] = []
        outputs: list[dict[str, NDArray[np.float32]]] = []
        taken, most = 0, self._largest
        try:
            for t in range(sampling.steps):
                if closed() or taken + most > room:
                    break
                seen = {} if network is None else self._look(network, observation)
                raw = sampling.draw(t, seen)
                started = time.perf_counter_ns()
                outcome = self._environment.step(self._packed(sampling, raw))
                elapsed = time.perf_counter_ns() - started
                raws.append(raw)
                outputs.append(seen)
                answer = response.steps.add()
                fill(answer, outcome, elapsed)
                size = answer.ByteSize()
                taken, most = taken + size + 16 + raw.nbytes + 4 * rows, max(most, 2 * size)
                observation = outcome.observation
                if sampling.way == "ornstein_uhlenbeck":
                    self._end_walks(outcome)
        except FAILURES as error:
            if not response.steps:
                raise
            told = error if isinstance(error, BridgeError) else environment_failure("its answer", error, False)
            response.error.CopyFrom(encode_error(told))
        if raws:
            response.action = np.stack(raws).tobytes()
            log_prob = sampling.log_prob(_together(outputs), np.concatenate(raws))
            response.log_prob = b"" if log_prob is None else log_prob.tobytes()

    def _prepare(self, request: env_pb2.RolloutRequest) -> tuple[OnnxPolicy | None, Sampling]:
        self._require_batch()
        if not 1 <= request.steps <= MAX_STEPS:
            raise WireError(f"a rollout of {request.steps} steps; 1 to {MAX_STEPS:,} can be asked for")
        from rlbridge.play.actions import actions_of
        from rlbridge.play.encoding import UnsupportedSpace
        from rlbridge.play.sampling import Sampling, SamplingError

        way = _way(request.sampling)
        if request.policy.model:
            self.hold(request.policy)
        policy = None if way == "uniform" else self._policy(way, request.policy)
        try:
            actions = actions_of(self._environment.actions.space) if policy is None else policy.actions
            if self._walk is None:
                self._walk = np.zeros((self._environment.num_envs, actions.width), np.float32)
            sampling = Sampling(
                way,
                None if policy is None else policy.description.kind,
                actions,
                self._environment.num_envs,
                min(request.steps, self._most_steps(actions)),
                request.sampling_seed,
                request.first_step,
                request.sampling_parameters,
                self._walk,
            )
        except (SamplingError, UnsupportedSpace) as error:
            raise Unsupported(f"{error}.") from None
        return policy, sampling

    def _most_steps(self, actions: Actions) -> int:
        """For so many can chance be drawn beforehand without taking much memory."""
        return max(_MAX_DRAWN // (actions.numbers * self._environment.num_envs), 1)

    def _policy(self, way: str, named: env_pb2.Policy) -> OnnxPolicy:
        if not named.sha256:
            raise UnknownPolicy(f"sampling {way} needs a policy, and the request names none")
        policy = self._policies.get(named.sha256)
        if policy is None:
            raise UnknownPolicy(
                f"this session holds no policy {named.sha256.hex()[:16]}... (it holds the latest {_HELD}); send its "
                "model along."
            )
        if named.kind and named.kind != policy.description.kind:
            raise InvalidPolicy(f"the policy was sent as {policy.description.kind!r}, it is no {named.kind[:100]!r}")
        return policy

    def _require_batch(self) -> None:
        if not available():
            raise Unsupported(
                "running policies at the environment needs onnxruntime on the server: "
                "pip install 'rlbridge-toolkit[play]'"
            )
        mode = self._environment.autoreset_mode
        if mode not in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP):
            raise Unsupported("a rollout needs a batch (num_envs of 1 or more) whose rows reset by themselves")

    def _look(self, network: Repeated, observation: list[bytes]) -> dict[str, NDArray[np.float32]]:
        codec, rows = self._environment.observations, self._environment.num_envs
        encoded = network.encoder.batch(codec.unpack_batch(observation, rows, copy=False))
        try:
            return network(encoded)
        except FAILURES as error:
            raise InvalidPolicy(f"the network cannot be run: {str(error)[:300]}") from None

    def _packed(self, sampling: Sampling, raw: NDArray[Any]) -> list[bytes]:
        try:
            actions = sampling.actions.to_environment(raw)
        except ValueError as error:
            from rlbridge.play.actions import NotFinite

            if isinstance(error, NotFinite):
                raise InvalidPolicy(str(error)) from None
            raise
        return self._environment.actions.pack_batch(actions, len(raw))

    def _end_walks(self, outcome: Outcome) -> None:
        ended = np.frombuffer(outcome.terminated, np.bool_) | np.frombuffer(outcome.truncated, np.bool_)
        if self._walk is not None and ended.any():
            self._walk[ended] = 0.0

    def _load(self, policy: env_pb2.Policy) -> OnnxPolicy:
        from rlbridge.play.description import OUTPUTS, Description
        from rlbridge.play.encoding import UnsupportedSpace
        from rlbridge.play.onnx_file import PolicyFileError
        from rlbridge.play.onnx_policy import OnnxPolicy

        if hashlib.sha256(policy.model).digest() != policy.sha256:
            raise InvalidPolicy(f"the model's {len(policy.model):,} bytes are not those of its sha256: send it again")
        if policy.kind not in OUTPUTS:
            raise InvalidPolicy(f"the policy's kind is {policy.kind[:100]!r}; known are {', '.join(OUTPUTS)}")
        environment = self._environment
        spaces = environment.observations.space, environment.actions.space
        try:
            loaded = OnnxPolicy(policy.model, Description(policy.kind, *spaces, policy.sha256.hex(), "", 0))
        except (PolicyFileError, UnsupportedSpace, TypeError) as error:
            raise InvalidPolicy(f"the policy is refused: {error}") from None
        largest = loaded.largest_layer
        if largest * environment.num_envs > _MAX_LAYER:
            raise InvalidPolicy(
                f"a layer of the network has {largest:,} numbers, {environment.num_envs} rows of it "
                f"{largest * environment.num_envs:,}; {_MAX_LAYER:,} are allowed"
            )
        self._require_fast(loaded)
        return loaded

    def _require_fast(self, policy: OnnxPolicy) -> None:
        """A policy that takes minutes for an action would hold its session, and a core, for as long."""
        encoder, rows = policy.encoder, self._environment.num_envs
        for count in (1, rows):
            seconds = math.inf
            for _ in range(_TRIALS):  # a machine that stands still for a moment is not the network's fault
                started = time.monotonic()
                in_time = policy.try_out(np.zeros((count, *encoder.shape), encoder.dtype), _SLOWEST)
                taken = (time.monotonic() - started) * rows / count
                seconds = min(seconds, taken)
                if in_time and taken <= 2.0 * _SLOWEST:
                    break
            else:
                raise InvalidPolicy(
                    f"the network takes {seconds:.1f} s or more for one action of {rows} rows; {_SLOWEST:g} s are "
                    "allowed",
                    limit=_SLOWEST,
                )


def _way(number: env_pb2.Sampling) -> str:
    known = env_pb2.Sampling.keys()
    if not number or number not in env_pb2.Sampling.values():
        raise WireError(f"sampling {number} is unknown here; known are {', '.join(known[1:])}")
    return env_pb2.Sampling.Name(number)[len("SAMPLING_") :].lower()


def _together(outputs: list[dict[str, NDArray[np.float32]]]) -> dict[str, NDArray[np.float32]]:
    """The outputs of several steps as those of one batch; a log_std that no observation moves has no batch axis."""
    first = outputs[0]
    return {
        name: value if value.ndim == 1 else np.concatenate([seen[name] for seen in outputs])
        for name, value in first.items()
    }
