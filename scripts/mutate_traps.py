#!/usr/bin/env python3
"""Put each known trap of reinforcement learning back into a copy of the package, and see that its tests notice.

Usage: python scripts/mutate_traps.py [WORD]...     only traps whose names hold one of the words

Exit code 0: every mutant died. 1: one survived. 2: the tests fail without any mutation, or a test cannot be run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Trap(NamedTuple):
    """In ``file``, ``text`` (there once) becomes ``mutant``; at least one of ``tests`` must then fail."""

    name: str
    file: str
    text: str
    mutant: str
    tests: tuple[str, ...]


def _trap(name: str, file: str, text: str, mutant: str, *tests: str) -> Trap:
    paths = (test if test.startswith("play/") else f"learn/{test}" for test in tests)
    return Trap(name, f"rlbridge/{file}.py", text, mutant, tuple(f"tests/{path}" for path in paths))


_REFERENCE = "test_replay.py::test_what_is_drawn_is_what_happened"
_NO_GLOBALS = "test_off_policy_runs.py::test_no_global_generator_has_a_say"
_DQN = "test_off_policy.py::test_dqn_target_values_what_the_right_network_chose"
_CRITICS = "test_off_policy.py::test_the_critics_loss_is_that_of_the_paper"
_GRADIENTS = "test_off_policy.py::test_gradients_by_hand_are_those_of_the_papers_losses"
_DDPG = f"{_CRITICS}[ddpg-False]"
_TD3 = f"{_CRITICS}[td3-False]"
_SAC = f"{_CRITICS}[sac-False]"
_FOLLOW = "test_off_policy.py::test_targets_follow_slowly_and_only_when_they_should"
_UNITS = "test_off_policy.py::test_the_same_task_in_other_units_of_action_trains_the_same_weights"
_GAINS = "test_traps.py::test_layers_begin_orthogonal_with_gains_root_2_then_a_hundredth_for_actions_and_1_for_values"
_MINIBATCHES = "test_ppo.py::test_minibatches_are_a_partition_every_epoch"
_OWN_SCALE = "play/test_actions.py::test_each_dimension_has_its_own_scale"

TRAPS = (
    # ------------------------------------------------------------------------------------------- ends of episodes
    _trap(
        "ppo: a truncated episode bootstraps",
        "learn/rollout",
        "gamma * next_value * ~terminated",
        "gamma * next_value * ~(terminated | truncated)",
        "test_rollout.py::test_truncated_bootstraps_and_terminated_does_not",
    ),
    _trap(
        "ppo: a terminated episode does not",
        "learn/rollout",
        "gamma * next_value * ~terminated",
        "gamma * next_value",
        "test_rollout.py::test_truncated_bootstraps_and_terminated_does_not",
    ),
    _trap(
        "ppo: no trace crosses a truncation",
        "learn/rollout",
        "np.where(terminated | truncated, 0.0",
        "np.where(terminated, 0.0",
        "test_rollout.py::test_no_trace_crosses_an_end_of_either_kind",
    ),
    _trap(
        "ppo: the value of an end is that of its final observation",
        "learn/ppo",
        "if rollout.final:",
        "if False:",
        "test_collect.py::test_both_modes_give_the_learner_the_same_transitions",
    ),
    _trap(
        "replay: a truncated episode bootstraps",
        "learn/replay",
        "~self.terminated.take(end)",
        "~self.last.take(end)",
        _REFERENCE,
        "test_replay.py::test_truncated_bootstraps_from_the_final_observation_and_terminated_does_not",
        "test_off_policy.py::test_an_endless_task_is_worth_1_over_1_minus_gamma_and_one_that_ends_is_worth_1",
    ),
    _trap(
        "replay: a terminated episode does not",
        "learn/replay",
        "self._powers.take(steps) * ~self.terminated.take(end)",
        "self._powers.take(steps)",
        _REFERENCE,
    ),
    _trap(
        "replay: what follows an end is its final observation",
        "learn/replay",
        "next_observation[i] = final",
        "pass",
        _REFERENCE,
        "test_replay.py::test_both_autoreset_modes_fill_the_memory_alike",
    ),
    # ------------------------------------------------------------------------------------- rows that are no transitions
    _trap(
        "the NEXT_STEP row after an end is no transition",
        "learn/stepper",
        "valid, dropped = ~self.resetting, 0",
        "valid, dropped = np.ones_like(self.resetting), 0",
        "test_collect.py::test_next_step_row_after_an_end_is_no_transition",
        "test_off_policy_runs.py::test_only_transitions_count_where_a_reset_takes_a_step",
    ),
    _trap(
        "rows that the bridge disowns are dropped",
        "learn/stepper",
        'valid &= infos["bridge_valid"]',
        "pass",
        "test_collect.py::test_disowned_rows_are_dropped_and_counted",
    ),
    _trap(
        "replay: rows that are not valid are not kept",
        "learn/replay",
        "ring = np.flatnonzero(step.valid)",
        "ring = np.arange(self.num_envs)",
        _REFERENCE,
        "test_off_policy_runs.py::test_what_the_bridge_disowns_is_neither_kept_nor_counted",
    ),
    _trap(
        "replay: n steps do not go over a row that is not valid",
        "learn/replay",
        "self.cut(np.flatnonzero(~step.valid))",
        "pass",
        _REFERENCE,
    ),
    # ------------------------------------------------------------------------------------------------------ n steps
    _trap("n steps stop at an end", "learn/replay", "going &= ~self.last[end] & (", "going &= (", _REFERENCE),
    _trap(
        "n steps never cross the ring's pointer",
        "learn/replay",
        "going &= ~self.last[end] & (end != newest)",
        "going &= ~self.last[end]",
        _REFERENCE,
    ),
    _trap(
        "n steps are discounted by as many",
        "learn/replay",
        "steps += going",
        "steps += 1",
        _REFERENCE,
    ),
    # ----------------------------------------------------------------------------------------- prioritised replay
    *(
        _trap(
            f"{name}: importance weights multiply each sample",
            f"learn/{name}",
            f"{before}batch.weight * ",
            f"{before}batch.weight.mean() * ",
            f"test_off_policy.py::test_a_sample_of_weight_zero_teaches_the_critic_nothing[{name}]",
        )
        for name, before in (("dqn", "slope = "), *((name, "backward(") for name in ("ddpg", "td3", "sac")))
    ),
    _trap(
        "new items get the largest priority",
        "learn/priorities",
        "self.largest**self.alpha",
        "1.0",
        "test_replay.py::test_a_new_transition_gets_the_largest_priority_there_ever_was",
        "test_replay.py::test_the_sum_tree_is_an_array",
    ),
    _trap(
        "importance weights undo the drawing",
        "learn/replay",
        "** -beta",
        "** -1.0",
        "test_replay.py::test_prioritised_draws_in_proportion_and_weighs_each_sample_for_it",
    ),
    # ---------------------------------------------------------------------------------------------------------- PPO
    _trap(
        "ppo: minibatches are drawn without replacement",
        "learn/ppo",
        "torch.randperm(count, generator",
        "torch.randint(count, (count,), generator",
        _MINIBATCHES,
    ),
    _trap(
        "ppo: minibatches cover all T x N transitions",
        "learn/ppo",
        "for start in range(0, count, size):",
        "for start in range(0, count - size + 1, size):",
        _MINIBATCHES,
    ),
    _trap(
        "ppo: advantages are normalised in each minibatch",
        "learn/ppo",
        "advantage = (advantage - mean) / (variance.sqrt() + 1e-8)",
        "pass",
        "test_traps.py::test_advantages_are_normalised_within_each_minibatch",
    ),
    _trap(
        "ppo: the deviation does not depend on the observation",
        "learn/distributions",
        "outputs + self.log_std.exp() * noise",
        "outputs + (self.log_std + 0.1 * outputs).exp() * noise",
        "test_traps.py::test_what_is_observed_moves_the_mean_of_an_action_and_not_its_spread",
    ),
    _trap(
        "ppo: actions are stored unclipped",
        "learn/collect",
        "rollout.action_np[t, rows] = raw\n",
        "rollout.action_np[t, rows] = raw.clip(-1, 1)\n",
        "test_collect.py::test_actions_are_stored_unclipped_and_sent_clipped",
    ),
    _trap(
        "actions are sent clipped",
        "play/actions",
        "np.clip(self.centre + self.half_range * raw, self.low, self.high)",
        "self.centre + self.half_range * raw",
        "play/test_actions.py::test_what_is_beyond_the_bounds_is_clipped_to_them",
        "test_collect.py::test_actions_are_stored_unclipped_and_sent_clipped",
    ),
    _trap("hidden layers have gain root 2", "learn/nets", "[math.sqrt(2.0)]", "[1.0]", _GAINS),
    _trap(
        "layers begin uniform where that is asked for",
        "learn/learners",
        "Initialiser(seeds.weights, config.network.initialisation)",
        "Initialiser(seeds.weights)",
        "test_off_policy.py::test_layers_begin_uniform_as_pytorchs_own_where_that_is_asked_for",
    ),
    _trap("policies have gain 0.01", "learn/policy", "else 0.01", "else 1.0", _GAINS),
    _trap(
        "critics have gain 1",
        "learn/conv",
        "output_gain: float = 1.0,\n) -> MLP | Convolutions",
        "output_gain: float = 0.01,\n) -> MLP | Convolutions",
        _GAINS,
    ),
    _trap(
        "ppo: adam's epsilon is 1e-5",
        "learn/ppo",
        "epsilon=1e-5",
        "epsilon=1e-8",
        "test_traps.py::test_adams_epsilon_is_the_one_of_ppo",
    ),
    _trap(
        "ppo: gradients are cut at 0.5",
        "config/algorithms",
        "max_gradient_norm: Positive = 0.5",
        "max_gradient_norm: Positive = 50.0",
        "test_traps.py::test_gradients_are_cut_at_one_half_unless_told_otherwise",
    ),
    _trap(
        "ppo: epochs end once the divergence is too large",
        "learn/ppo",
        "> cfg.target_kl:",
        "> 1e9:",
        "test_ppo.py::test_an_update_stops_early_once_the_divergence_is_too_large",
    ),
    # ------------------------------------------------------------------------------------------- scales and numbering
    _trap(
        "each dimension of an action has its own scale",
        "play/actions",
        "(high - low) / 2\n",
        "np.full(self.width, (high - low).max() / 2)\n",
        _OWN_SCALE,
    ),
    _trap(
        "exploration noise has the action's scale",
        "learn/explore",
        "np.clip(action + self.walk[rows], -1.0, 1.0)",
        "np.clip(action + self.walk[rows] / self.policy.actions.half_range.astype(np.float32), -1.0, 1.0)",
        "test_explore.py::test_noise_is_in_parts_of_each_dimensions_own_range",
    ),
    _trap(
        "td3: target noise has the action's scale",
        "learn/td3",
        "noise = (noise * cfg.target_noise)",
        "noise = (noise * cfg.target_noise / torch.as_tensor(self.policy.actions.half_range).float())",
        _TD3,
        f"{_UNITS}[td3]",
    ),
    _trap(
        "sac: the tanh is in the density",
        "learn/distributions",
        "(gaussian - slope).sum(-1)",
        "gaussian.sum(-1)",
        "test_off_policy.py::test_the_density_of_a_squashed_action_integrates_to_one",
        _SAC,
    ),
    _trap(
        "sac: the density is not of the environment's units",
        "learn/distributions",
        "(gaussian - slope).sum(-1)",
        "(gaussian - slope - torch.as_tensor(self.actions.half_range).float().log()).sum(-1)",
        f"{_UNITS}[sac]",
    ),
    _trap(
        "actions may be numbered from another number than 0",
        "play/actions",
        "(raw.reshape(shape) + self.start)",
        "raw.reshape(shape)",
        "play/test_actions.py::test_numbering_shape_and_dtype_are_the_spaces",
        "test_collect.py::test_discrete_actions_count_from_the_spaces_start",
    ),
    _trap(
        "observations may be numbered from another number than 0",
        "play/encoding",
        "_one_hot(values - space.start, int(space.n))",
        "_one_hot(values, int(space.n))",
        "play/test_actions.py::test_observations_of_a_discrete_space_are_one_hot_from_its_start",
    ),
    # --------------------------------------------------------------------------------------------------------- counting
    _trap(
        "steps count the transitions of all environments",
        "learn/stepper",
        "transitions += int(np.count_nonzero(valid))",
        "transitions += 1",
        "test_off_policy_runs.py::test_the_number_of_environments_changes_neither_steps_nor_updates",
        "test_collect.py::test_next_step_row_after_an_end_is_no_transition",
    ),
    _trap(
        "gradient steps are per transition, not per step of all environments",
        "learn/off_policy",
        "batches(due, ",
        "batches(1, ",
        "test_off_policy_runs.py::test_the_number_of_environments_changes_neither_steps_nor_updates",
    ),
    _trap(
        "the last gradient steps are in the last checkpoint",
        "learn/off_policy",
        "self._learn()  # nothing",
        "pass  # nothing",
        "test_off_policy_runs.py::test_the_last_checkpoint_has_the_last_gradient_steps",
    ),
    # ----------------------------------------------------------------------------------------------------------- chance
    _trap(
        "replay draws from a generator of its own",
        "learn/replay",
        "self.generator.integers(0, until[-1], size)",
        "np.random.randint(0, until[-1], size)",
        f"{_NO_GLOBALS}[sac]",
    ),
    _trap(
        "priorities draw from a generator of their own",
        "learn/priorities",
        "generator.random(size)",
        "np.random.random(size)",
        f"{_NO_GLOBALS}[dqn]",
    ),
    _trap(
        "exploration draws from a generator of its own",
        "learn/explore",
        "self.generator.normal(0.0, self.config.noise_std, action.shape)",
        "np.random.normal(0.0, self.config.noise_std, action.shape)",
        f"{_NO_GLOBALS}[ddpg]",
    ),
    _trap(
        "td3 draws from a generator of its own",
        "learn/td3",
        "torch.randn(batch.action.shape, generator=self.generator)",
        "torch.randn(batch.action.shape)",
        f"{_NO_GLOBALS}[td3]",
    ),
    _trap(
        "sac draws from a generator of its own",
        "learn/sac",
        "self.policy.actions.width, generator=self.generator)",
        "self.policy.actions.width)",
        f"{_NO_GLOBALS}[sac]",
    ),
    _trap(
        "ppo draws minibatches from a generator of its own",
        "learn/ppo",
        "torch.randperm(count, generator=self.generator)",
        "torch.randperm(count)",
        f"{_NO_GLOBALS}[ppo]",
    ),
    _trap(
        "one coin for each environment",
        "learn/explore",
        "self.generator.random(n) < epsilon",
        "np.full(n, self.generator.random()) < epsilon",
        "test_explore.py::test_every_environment_tosses_its_own_coin",
    ),
    _trap(
        "the walk of noise begins anew with an episode",
        "learn/explore",
        "self.walk[rows] = 0.0",
        "pass",
        "test_explore.py::test_the_walk_begins_anew_with_each_episode",
    ),
    _trap(
        "the walk of noise begins anew after a NEXT_STEP reset",
        "learn/off_policy",
        "self.explorer.ended(step.terminated | step.truncated | ~step.valid)",
        "self.explorer.ended(step.terminated | step.truncated)",
        "test_off_policy_runs.py::test_noise_begins_anew_after_the_step_that_resets",
    ),
    # ---------------------------------------------------------------------------------------------------------- targets
    _trap("dqn: double is double", "learn/dqn", "if self.config.double else", "if False else", f"{_DQN}[True]"),
    _trap("dqn: not double is not", "learn/dqn", "if self.config.double else", "if True else", f"{_DQN}[False]"),
    _trap(
        "dqn: the target network values",
        "learn/dqn",
        "next_value = self.target.net(batch.next_observation)",
        "next_value = self.policy(batch.next_observation)",
        _DQN,
    ),
    _trap(
        "ddpg: the target networks value",
        "learn/ddpg",
        "next_value = self.target_judge.values(",
        "next_value = self.judge.values(",
        _DDPG,
    ),
    _trap(
        "td3: the smaller twin counts",
        "learn/td3",
        "next_value = self.target_judge.values(next_features, next_action).amin(0)",
        "next_value = self.target_judge.values(next_features, next_action)[0]",
        _TD3,
    ),
    _trap(
        "sac: the smaller twin counts",
        "learn/sac",
        "next_value = self.target_judge.values(next_features, next_action).amin(0)",
        "next_value = self.target_judge.values(next_features, next_action)[0]",
        _SAC,
    ),
    _trap(
        "sac: the policy climbs the smaller twin",
        "learn/sac",
        "smaller, twin = values.min(0)",
        "smaller, twin = values.max(0)",
        f"{_GRADIENTS}[sac-False]",
    ),
    _trap(
        "sac: the temperature weighs the policy's entropy",
        "learn/sac",
        "to_action, temperature / size)",
        "to_action, 0.0 * temperature)",
        f"{_GRADIENTS}[sac-False]",
    ),
    *(
        _trap(
            f"{name}: the policy's loss goes through its tanh",
            f"learn/{name}",
            "to_action * (1.0 - action.square())",
            "to_action",
            f"{_GRADIENTS}[{name}-False]",
        )
        for name in ("ddpg", "td3")
    ),
    _trap(
        "targets follow slowly",
        "learn/nets",
        "self._vectors[0].lerp_(self._vectors[1], tau)",
        "self._vectors[0].copy_(self._vectors[1])",
        _FOLLOW,
    ),
    *(
        _trap(
            f"{name}: targets move only when they should",
            f"learn/{name}",
            "if self.updates % ",
            "if True or self.updates % ",
            f"{_FOLLOW}[{name}]",
        )
        for name in ("dqn", "ddpg", "td3", "sac")
    ),
    # -------------------------------------------------------------------------------------------------------- soundness
    _trap(
        "no action that is not finite is sent",
        "play/actions",
        "if not finite.all():",
        "if False:",
        "play/test_actions.py::test_an_action_that_is_not_finite_is_never_sent",
    ),
    _trap(
        "no weights that are not finite are saved",
        "learn/trainer",
        "            self._require_finite_weights()\n            path",
        "            path",
        "test_off_policy_runs.py::test_diverged_weights_send_nothing_and_are_not_saved",
    ),
)


def main(words: list[str]) -> int:
    """Run them; one line a trap on stdout."""
    chosen = [trap for trap in TRAPS if not words or any(word in trap.name for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("rlbridge", "tests", "scripts"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        tests = sorted({test for trap in chosen for test in trap.tests})
        sound = _pytest(copy, tests)
        if sound.returncode:
            print(f"the tests fail without any mutation:\n{sound.stdout}{sound.stderr}")
            return 2
        codes = {_put_back(copy, trap) for trap in chosen}
    print(f"{len(chosen)} traps: {'every mutant died' if codes == {1} else 'NOT every mutant died'}")
    return 0 if codes == {1} else 1 if 0 in codes else 2


def _put_back(copy: Path, trap: Trap) -> int:
    """Apply one mutation, run its tests, undo it; pytest's exit code, of which 1 is a dead mutant."""
    file, began = copy / trap.file, time.monotonic()
    sound = file.read_text(encoding="utf-8")
    if sound.count(trap.text) != 1:
        raise SystemExit(f"{trap.name}: {trap.file} holds {trap.text!r} {sound.count(trap.text)} times, not once")
    file.write_text(sound.replace(trap.text, trap.mutant), encoding="utf-8")
    code = _pytest(copy, list(trap.tests), "--exitfirst").returncode
    file.write_text(sound, encoding="utf-8")
    verdict = {0: "SURVIVED", 1: "died"}.get(code, f"pytest ended with {code}")
    print(f"{verdict:<9} {time.monotonic() - began:5.1f} s  {trap.name}", flush=True)
    return code


def _pytest(copy: Path, tests: list[str], *options: str) -> subprocess.CompletedProcess[str]:
    # Not as bytecode: two mutants of one second and one length would be taken for the same.
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, *tests]
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=900, check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
