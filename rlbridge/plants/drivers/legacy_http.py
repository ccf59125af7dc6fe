"""The wire of this project's first generation, as a Gymnasium environment: servers that speak it work unmodified.

    PUT /path                    Content-Type: application/x-www-form-urlencoded        action=1
    200                          "{\\"reward\\": 1.0, \\"next_state\\": [0.0, 0.2, 0.0, -0.3], \\"done\\": false}"

One environment a server, no session, no reset: after ``done`` the server is in its initial state, always the same one,
which the client must know. The answer is JSON inside a JSON string; plain JSON is understood, too.
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlencode, urlsplit

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rlbridge.plants.plant import PlantLost

Observation = NDArray[np.float64]
_MOST_BYTES = 1 << 20


@contextmanager
def _cut_after(seconds: float, sock: socket.socket) -> Iterator[None]:
    """Shut the socket down after so long: its own timeout is for each wait, and a byte now and then meets that.

    Raises:
        TimeoutError: that has happened.
    """
    over = threading.Event()

    def cut() -> None:
        over.set()
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        if over.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
    if over.is_set():
        raise TimeoutError  # what was read until then may look whole


class LegacyHttpEnv(gymnasium.Env[Observation, np.int64]):
    """A discrete-action environment behind the old wire.

    Observations are ``Box(-inf, inf, (len(initial_state),), float64)``, actions ``Discrete(actions)``. An episode that
    is cut short here cannot be reset there: the next one goes on where it stands, and ``reset`` says so in
    ``info["continues"]``. A step is sent once: whether one that failed took place is not known, so it is an error.

    Args:
        url: ``http://host:port/path`` or https.
        initial_state: where every episode begins.
        actions: how many there are; sent as 0 to ``actions`` - 1.
        max_episode_steps: the server's own time limit: a ``done`` after that many steps is a truncation. None: it has
            none, and every ``done`` is a termination.
        timeout: seconds for connecting, and for the whole of an answer.

    Raises:
        ValueError: a URL, initial state or number of actions that cannot be.
    """

    def __init__(
        self,
        url: str,
        initial_state: Sequence[float],
        actions: int,
        max_episode_steps: int | None = None,
        timeout: float = 10.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url {url!r}: expected http://HOST:PORT/PATH")
        self._initial = np.array(initial_state, np.float64)
        if self._initial.ndim != 1 or not len(self._initial) or not np.isfinite(self._initial).all():
            raise ValueError(f"initial_state {initial_state!r} must be a list of finite numbers")
        self.observation_space = spaces.Box(-np.inf, np.inf, self._initial.shape, np.float64)
        self.action_space = spaces.Discrete(int(actions))
        self._url, self._timeout, self._limit = url, timeout, max_episode_steps
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        secure = parts.scheme == "https"
        connection = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = connection(parts.hostname, parts.port, timeout=timeout)
        self._state = self._initial
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Any]:
        """The initial state, without asking the server; within an episode, the state in which that stands.

        ``seed`` and ``options`` change nothing: the wire cannot carry them.
        """
        super().reset(seed=seed)
        return self._state.copy(), {"continues": True} if self._steps else {}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Send one action.

        Raises:
            PlantLost: no answer within the deadline, or none that the wire allows; says which.
        """
        state, reward, done = self._read(self._put(urlencode({"action": int(action)})))
        self._steps += 1
        truncated = done and self._limit is not None and self._steps >= self._limit
        self._state = self._initial if done else state
        if done:
            self._steps = 0
        return state, reward, done and not truncated, truncated, {}

    def close(self) -> None:
        self._connection.close()

    def _put(self, form: str) -> bytes:
        try:
            self._forget_closed()
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            self._connection.request("PUT", self._path, form, headers)
            with _cut_after(self._timeout, self._connection.sock):
                response = self._connection.getresponse()
                body = response.read(_MOST_BYTES + 1)
            if len(body) > _MOST_BYTES:
                raise self._lost(f"answered with more than {_MOST_BYTES} bytes")
            if response.status != 200:
                raise self._lost(f"answered {response.status} {response.reason}: {body[:200]!r}")
            return body
        except TimeoutError:
            raise self._lost(f"gave no answer within {self._timeout:g} s: it hangs, or is cut off") from None
        except ConnectionRefusedError:
            raise self._lost("refused the connection: is it running, and is this its port?") from None
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(f"broke off: {error or type(error).__name__}") from error

    def _forget_closed(self) -> None:
        """A server may end an idle connection; that is to be seen before a step is sent into it."""
        sock = self._connection.sock
        if sock is not None and select.select([sock], [], [], 0)[0]:
            self._connection.close()

    def _read(self, body: bytes) -> tuple[Observation, float, bool]:
        try:
            answer = json.loads(body)
            answer = json.loads(answer) if isinstance(answer, str) else answer
            state, reward, done = answer["next_state"], answer["reward"], answer["done"]
            observation = np.array(state, np.float64)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise self._lost(
                f"answered {body[:200]!r}, not a JSON string of JSON with reward, next_state and done ({error!r})"
            ) from error
        if observation.shape != self._initial.shape or not np.isfinite(observation).all():
            raise self._lost(f"gave next_state {state!r}; expected {len(self._initial)} finite numbers")
        if isinstance(reward, bool) or not isinstance(reward, (int, float)) or not abs(reward) <= sys.float_info.max:
            raise self._lost(f"gave reward {reward!r}, which is no finite number")
        if not isinstance(done, (bool, int)):
            raise self._lost(f"gave done {done!r}, which is neither true nor false")
        return observation, float(reward), bool(done)

    def _lost(self, why: str) -> PlantLost:
        self._connection.close()
        return PlantLost(f"the server {self._url} {why}")
