"""Why something was refused, in the reader's language: the config, pydantic and the run folders say it in English."""

from __future__ import annotations

import functools
import re

from rlbridge.studio.words import Words

# Each is a sentence as it comes, with names where its values stand; the same text is the key of its translation. The
# first that fits is taken.
SENTENCES = (
    # pydantic
    "Input should be greater than or equal to {limit}",
    "Input should be greater than {limit}",
    "Input should be less than or equal to {limit}",
    "Input should be less than {limit}",
    "Input should be a valid number",
    "Input should be a valid number, unable to parse string as a number",
    "Input should be a finite number",
    "Input should be a valid integer",
    "Input should be a valid integer, unable to parse string as an integer",
    "Input should be a valid integer, got a number with a fractional part",
    "Unable to parse input string as an integer, exceeded maximum size",
    "Input should be a valid boolean",
    "Input should be a valid boolean, unable to interpret input",
    "Input should be a valid string",
    "Input should be a valid list",
    "Input should be a valid dictionary",
    "Input should be a valid dictionary or instance of {kind}",
    "Input should be '{choices}' or '{last}'",
    "String should have at least {n} character",
    "String should match pattern '{pattern}'",
    # the config, of one setting
    "true or false is not what belongs here",
    "should be one of {names}; did you mean '{name}'?",
    "should be one of {names}",
    "unknown key '{path}' = {value}; did you mean '{name}'?",
    "unknown key '{path}' = {value}; it belongs to {names}.",
    "unknown key '{path}' = {value}; known here: {names}.",
    "a fleet (a list of targets) is not available yet; give one target",
    # the config, of several settings
    "env.num_envs = {n} cannot be shared out evenly over {sessions} sessions",
    "env.sessions = {n} has no effect with env.placement = edge, only with step",
    "env.kwargs go to a local factory, but {target} is on a server; set them there",
    "env.processes is for local environments, but {target} is on a server",
    "env.placement = edge runs the policy on a server, but {target} is local; serve it (`rlbridge serve`), or leave "
    "placement out",
    "env.chunk has no effect with env.placement = step, only with edge",
    "algorithm.rollout_steps x env.num_envs is 1; an update needs at least 2 transitions",
    "network.shared = true: dqn has one network, and nothing to share it with; leave it out",
    "algorithm.exploration = gaussian_epsilon: with env.placement = edge there are epsilon and greedy",
    "algorithm.replay_size = {size} is too small: algorithm.batch_size = {batch} and algorithm.n_step = {steps} with "
    "env.num_envs = {envs} need {least} or more",
    "nothing would be learned: with algorithm.learning_starts = {starts}, train_every = {every} and updates_per_step = "
    "{updates} no gradient step is due until algorithm.total_steps = {total}",
    "algorithm.{name} = {value} has no effect with algorithm.replay = {replay}, only with {kind}",
    # the run file as a whole
    "the run's settings: {n} problem(s)",
    "{origin} is not YAML: {why}",
    "{origin}: a run is a mapping of sections ({names}), not {value}.",
    "cannot read the run file {path}: {why}",
    # what a page may not ask for
    "{target} names code, which no page may have run. Start the studio with --target {same}, or serve it (rlbridge "
    "serve) and name the server.",
    "{target} is no registered Gymnasium environment, and no server's address.",
    "env.credentials name files, which no page may have read. Start the studio with RLBRIDGE_TOKEN and RLBRIDGE_TLS_* "
    "set instead: its runs inherit them.",
    "env.kwargs = {value}: no page may name paths of this machine.",
    # runs
    "{name} is no run's name: letters, digits, '.', '_' and '-', at most 100",
    "there is no run called {name} in {folder}",
    "there is a run called {name} already. Choose another name.",
    "{name} is {status}: it goes on already",
    "{name} is {status}. Stop it first.",
    "{name} is being started already",
    "the process of {name} runs on {machine}, not here",
    # servers and environments
    "the server of {name} did not come up: {why}",
    "there is no server called {name}",
    "nothing answers at {url} ({why}). Is the server running, and the address right? `{command}` names the cause.",
    "nothing answers at {url} ({why}). Is the server running, and the address right?",
    "no answer within {n} s",
    "{url} is no address such as http://127.0.0.1:8000/",
    "{typed} is no list of numbers such as 0, 0, 0, 0",
    "{typed} is no number of actions: a whole number, at least 2",
)

_MOST = 600
_SETTING = r"(?:(?P<setting_>[\w.]+) = (?P<typed_>.+?): )?"


def refusal(t: Words, error: Exception | str) -> str:
    """What ``error`` says, each line that is known in the language of ``t``; the others stay as they are."""
    return "\n  ".join(_line(t, line) for line in str(error).split("\n  "))


def _line(t: Words, line: str) -> str:
    if len(line) > _MOST:  # matching takes longer than its square, and a server may say anything
        return line
    for sentence in SENTENCES:
        if found := _pattern(sentence).fullmatch(line):
            values = found.groupdict()
            setting, typed = values.pop("setting_"), values.pop("typed_")
            if "status" in values:
                values["status"] = t(values["status"])
            said = t(sentence, **values)
            # A whole section as its own value ("env = {...}: env.num_envs = ...") tells nothing beside the sentence.
            told = setting is not None and ("." in setting or typed[:1] != "{")
            return f"{setting} = {typed}: {said}" if told else said
    return line


@functools.cache
def _pattern(sentence: str) -> re.Pattern[str]:
    """What matches the sentence with any values, and with the setting and what was typed for it before it."""
    parts = re.split(r"\{(\w+)\}", sentence)
    body = "".join(f"(?P<{part}>.+?)" if i % 2 else re.escape(part) for i, part in enumerate(parts))
    return re.compile(_SETTING + body, re.DOTALL)
