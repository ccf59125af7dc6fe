"""The environments a server offers: from a Gymnasium id, ``module:factory``, a serve.yaml, or a folder with one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import gymnasium
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rlbridge.entry_point import Factory, UnknownFactory, names_parameter, resolve_factory
from rlbridge.gymnasium_versions import AutoresetMode, needs_modern
from rlbridge.nearest import did_you_mean
from rlbridge.plants.plant_file import SECTIONS, PlantFactory, PlantFile
from rlbridge.recordings import Recording, ReplayEnv
from rlbridge.server.actions import ActionBounds
from rlbridge.server.environment import Environment
from rlbridge.server.failure import FAILURES, close_quietly
from rlbridge.server.native import NativeBatch
from rlbridge.server.old_gym import modern
from rlbridge.server.one_thread import OnOneThread
from rlbridge.server.recorded import RecordedEnvironment
from rlbridge.server.rows import EnvironmentRows
from rlbridge.server.single import SingleEnvironment
from rlbridge.wire.errors import RemoteEnvError, Unsupported

ALL_MODES = (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED)


class EnvironmentFile(BaseModel):
    """One environment in a serve.yaml."""

    model_config = ConfigDict(extra="forbid")

    env: str = Field(min_length=1, description="A Gymnasium id, module:factory, or file.py:factory next to this file.")
    name: str | None = Field(None, min_length=1, description="What clients call it; default: taken from env.")
    summary: str = Field("", description="One line for people.")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="Passed to the factory.")
    vectorization: Literal["rows", "native"] = Field(
        "rows", description="native: batches come from Gymnasium's vector_entry_point, or from `vector`."
    )
    vector: str | None = Field(None, description="With native: module:factory called with num_envs=N.")
    action_bounds: ActionBounds = Field("refuse", description="Numbers outside a Box: refuse, clip or ignore.")
    own_thread: bool = Field(
        False, description="Make, step and close each session's environment in one thread: for libraries that insist."
    )


class ServeFile(BaseModel):
    """A serve.yaml with several environments; one with a single environment is an ``EnvironmentFile``."""

    model_config = ConfigDict(extra="forbid")

    envs: list[dict[str, Any]] = Field(min_length=1)


@dataclass
class Offer:
    """One environment on offer.

    Attributes:
        name: what clients ask for.
        factory: makes one environment.
        make_batch: makes a native batch of ``num_envs``, or None.
        kwargs: for both.
        bounds: see ``ActionReader``.
        own_thread: see ``OnOneThread``.
        record: the folder where every session becomes a recording, or None.
    """

    name: str
    factory: Factory
    summary: str = ""
    kwargs: dict[str, Any] = field(default_factory=dict)
    make_batch: Factory | None = None
    bounds: ActionBounds = "refuse"
    own_thread: bool = False
    modes: tuple[AutoresetMode, ...] = ALL_MODES
    record: Path | None = None

    def make(self, render_mode: str | None = None, held_by: str = "") -> Any:
        """One environment; ``held_by``, who it is for, is told to a factory that wants to know.

        Raises:
            Unsupported: it cannot render in that mode.
            RemoteEnvError: its factory raised.
        """
        return self._call(self.factory, render_mode, held_by)

    def _call(self, factory: Factory, render_mode: str | None, held_by: str, **more: Any) -> Any:
        kwargs = dict(self.kwargs)
        if held_by and names_parameter(factory, "held_by"):
            kwargs["held_by"] = held_by
        if render_mode:
            if not _accepts(factory, "render_mode"):
                raise Unsupported(f"environment {self.name!r} takes no render_mode")
            kwargs["render_mode"] = render_mode
        try:
            return modern(factory(**kwargs, **more))
        except FAILURES as error:
            raise RemoteEnvError(f"making environment {self.name!r} raised {type(error).__name__}: {error}") from error

    def build(
        self,
        num_envs: int,
        mode: AutoresetMode | None,
        render_mode: str | None,
        show_tracebacks: bool,
        held_by: str = "",
    ) -> Environment:
        """The environment of a session: one, a batch of rows, or a native batch; ``held_by`` says whose.

        Raises:
            Unsupported: a mode that this environment cannot do.
        """
        build = functools.partial(self._build, num_envs, mode, render_mode, show_tracebacks, held_by)
        environment = OnOneThread(build) if self.own_thread else build()
        return environment if self.record is None else RecordedEnvironment(environment, self.record, self.name)

    def _build(
        self, num_envs: int, mode: AutoresetMode | None, render_mode: str | None, show_tracebacks: bool, held_by: str
    ) -> Environment:
        make = functools.partial(self.make, render_mode, held_by)
        if num_envs == 0:
            return SingleEnvironment(make, self.bounds, show_tracebacks)
        if self.make_batch is None:
            return EnvironmentRows(make, num_envs, mode or ALL_MODES[0], self.bounds, show_tracebacks)
        make_batch = functools.partial(self._call, self.make_batch, render_mode, held_by, num_envs=num_envs)
        if mode is not None and names_parameter(self.make_batch, "autoreset_mode"):
            make_batch = functools.partial(make_batch, autoreset_mode=mode)
        batch = NativeBatch(make_batch, self.bounds, show_tracebacks)
        if mode is not None and mode is not batch.autoreset_mode:
            batch.close()
            native = batch.autoreset_mode.value if batch.autoreset_mode else "no autoreset"
            raise Unsupported(
                f"environment {self.name!r} is a native batch that only does {native}, not {mode.value}. "
                "Ask for that mode, or serve it with vectorization: rows.",
                supported=native,
            )
        return batch

    def autoreset_modes(self) -> tuple[AutoresetMode, ...]:
        """What a client may ask for, the default first; a native batch, made once to find out, has the one it has."""
        if self.make_batch is None or names_parameter(self.make_batch, "autoreset_mode"):
            return self.modes
        batch = self.build(1, None, None, True)
        try:
            return (batch.autoreset_mode,) if batch.autoreset_mode else ()
        finally:
            batch.close()

    def check(self) -> gymnasium.Env[Any, Any]:
        """Make one environment, to fail at the start rather than at the first client; the caller closes it."""
        env = self.make()
        if not hasattr(env, "observation_space") or not hasattr(env, "action_space"):
            raise UnknownFactory(
                f"{self.name!r} made a {type(env).__name__}, which has no observation_space and action_space: "
                + (_PLANT_ALONE if hasattr(env, "safe_action") else "the factory must return a gymnasium.Env")
            )
        if self.make_batch is not None:
            batch = self._call(self.make_batch, None, "", num_envs=1)
            if getattr(batch, "num_envs", None) != 1:
                raise UnknownFactory(
                    f"{self.name!r}: its native batch is a {type(batch).__name__}, no VectorEnv of one"
                )
            close_quietly(batch)
        return env  # type: ignore[no-any-return]


_PLANT_ALONE = (
    "it is a plant, and a plant needs a serve.yaml with at least one of clock:, gate: and task: beside env:; "
    "`rlbridge new plant NAME` makes an example"
)


def _accepts(factory: Callable[..., Any], parameter: str) -> bool:
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return True
    return parameter in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def load_catalog(source: str, action_bounds: ActionBounds | None = None) -> list[Offer]:
    """The offers behind what a user types after ``rlbridge serve``.

    Args:
        source: a Gymnasium id, ``module:factory``, a serve.yaml, or a folder that holds one or a recording.
        action_bounds: overrides what the file says.

    Raises:
        UnknownFactory: it leads nowhere, or the file is not valid; the message says where and why.
    """
    path = Path(source)
    if (path / "recording.json").is_file():
        return [Offer(Recording(path).environment, functools.partial(ReplayEnv, path), "a recording")]
    if path.is_dir():
        path = path / "serve.yaml"
        if not path.is_file():
            raise UnknownFactory(f"the folder {source!r} holds no serve.yaml")
    if path.suffix in (".yaml", ".yml"):
        entries = _read_file(path)
        folder = path.parent
    else:
        entries, folder = [EnvironmentFile(env=source)], Path.cwd()  # type: ignore[call-arg]
    offers = [
        _plant_offer(entry, folder) if isinstance(entry, PlantFile) else _offer(entry, folder, action_bounds)
        for entry in entries
    ]
    names = [offer.name for offer in offers]
    if len(set(names)) != len(names):
        raise UnknownFactory(f"{source!r} offers the same name twice: {', '.join(names)}")
    return offers


def _read_file(path: Path) -> list[EnvironmentFile | PlantFile]:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UnknownFactory(f"cannot read {str(path)!r}: {error}") from error
    except yaml.YAMLError as error:
        raise UnknownFactory(f"{str(path)!r} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise UnknownFactory(f"{str(path)!r} must hold a mapping with env: or envs:")
    several = "envs" in content
    entries = _validated(ServeFile, content, path).envs if several else [content]
    return [
        _validated(PlantFile, entry, path) if SECTIONS & entry.keys() else _validated(EnvironmentFile, entry, path)
        for entry in entries
    ]


_Model = TypeVar("_Model", bound=BaseModel)


def _validated(model: type[_Model], content: dict[str, Any], path: Path) -> _Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = "\n".join(f"  {_explain(model, problem)}" for problem in error.errors())
        raise UnknownFactory(f"{str(path)!r} is not a valid serve file:\n{lines}") from error


def _explain(model: type[BaseModel], problem: Any) -> str:
    """One problem of a serve file: where, what was given, and what to write instead."""
    *above, key = problem["loc"] or ("",)
    where = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        known = _keys(model, above)
        if model is ServeFile and not above and key in {*EnvironmentFile.model_fields, *PlantFile.model_fields}:
            return f"{where}: beside envs: there is nothing else; it belongs into one of the entries."
        meant = did_you_mean(str(key), known, f"known here: {', '.join(known)}.", cutoff=0.5)
        return f"unknown key {where!r}; {meant}"
    if problem["type"] == "missing":
        return f"{where} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message} (got {problem['input']!r})" if key else message


def _keys(here: Any, above: Sequence[Any]) -> list[str]:
    """The keys that a section has, found along the way to it: through fields, and what a list or mapping holds."""
    for part in above:
        if isinstance(here, type) and issubclass(here, BaseModel):
            field_here = here.model_fields.get(part)
            here = field_here.annotation if field_here else None
        else:
            here = next((kind for kind in reversed(get_args(here)) if isinstance(kind, type)), None)
    return list(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else []


def _plant_offer(file: PlantFile, folder: Path) -> Offer:
    """A plant's gate limits what is out of bounds, and says so; only what is not finite is refused before it."""
    make = PlantFactory(file, folder)
    batch = make.batch if make.batches else None
    try:
        summary = make.summary()
    except FAILURES:  # making the environment will say so, with everything around it
        summary = file.summary
    return Offer(make.name, make, summary, make_batch=batch, bounds="finite")


def _offer(entry: EnvironmentFile, folder: Path, bounds: ActionBounds | None) -> Offer:
    make_batch = None
    if entry.vector is not None or entry.vectorization == "native":
        needs_modern(f"{entry.env!r}: a native batch")
    if entry.vector is not None:
        make_batch = resolve_factory(entry.vector, folder)
    elif entry.vectorization == "native":
        make_batch = functools.partial(gymnasium.make_vec, entry.env, vectorization_mode="vector_entry_point")
    return Offer(
        name=entry.name or _default_name(entry.env),
        factory=resolve_factory(entry.env, folder),
        summary=entry.summary,
        kwargs=entry.kwargs,
        make_batch=make_batch,
        bounds=bounds or entry.action_bounds,
        own_thread=entry.own_thread,
    )


def _default_name(env: str) -> str:
    return env if env in gymnasium.registry else env.rpartition(":")[2].rpartition("/")[2]
