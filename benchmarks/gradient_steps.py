"""What one gradient step costs, on one thread: PPO's in several ways of writing it, every algorithm's against
Stable-Baselines3's, the pieces that other ways of writing were tried for, and what acting costs between two steps.

    python benchmarks/gradient_steps.py [ppo] [algorithms] [pieces] [acting] [--rounds 11] [--compile] [--json]

Rounds are interleaved; figures are medians of the process's own CPU time (on a busy machine the clock on the wall says
more about the neighbours), ratios are medians of each round's ratio. ``--compile`` adds torch.compile, which takes a
compiler and, first, many seconds; they are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy's, before it is imported

import gymnasium
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rlbridge.config import load_config
from rlbridge.learn.backprop import Memory, Tape
from rlbridge.learn.initialiser import Initialiser
from rlbridge.learn.learners import make_learner
from rlbridge.learn.minimise import Minimiser
from rlbridge.learn.nets import MLP
from rlbridge.learn.ppo import PPO
from rlbridge.learn.ppo import Batch as PPOBatch
from rlbridge.learn.replay import Batch
from rlbridge.learn.seeds import Seeds

Step = Callable[[], Any]
ROWS, CLIP = 256, 0.2


def measure(steps: dict[str, tuple[Step, int]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of CPU a step, each round, for functions that take so many steps in one call."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 1):  # the first round warms up
        for name, (step, count) in steps.items():
            calls = max(1, 40 // count)
            started = time.process_time()
            for _ in range(calls):
                step()
            times[name].append((time.process_time() - started) / (calls * count) * 1e3)
    return {name: values[1:] for name, values in times.items()}


def learner_for(target: str, algorithm: dict[str, Any], network: dict[str, Any], num_envs: int = 1) -> Any:
    env = gymnasium.make(target)
    config = load_config({"env": {"num_envs": num_envs}, "algorithm": algorithm, "network": network})
    return make_learner(config, env.observation_space, env.action_space, Seeds.from_run(0))


def ppo_steps(compiled: bool) -> dict[str, tuple[Step, int]]:
    """One minibatch of CartPole's size (256 rows, two networks 64 x 64), in every way of writing it."""
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(ROWS, 4, generator=draw)
    action = torch.randint(0, 2, (ROWS, 1), generator=draw)
    old_log_prob = -0.69 + 0.1 * torch.randn(ROWS, generator=draw)
    advantage, target = torch.randn(2, ROWS, generator=draw)
    batch = PPOBatch(rows, action, old_log_prob, advantage, target, target)
    settings = {"name": "ppo", "normalise_observations": False, "normalise_rewards": False, "minibatch_size": ROWS}
    learner = learner_for("CartPole-v1", settings, {})
    assert isinstance(learner, PPO)

    def loss(outputs: Tensor, value: Tensor) -> Tensor:
        scale = torch.var_mean(advantage, correction=0)
        normal = (advantage - scale[1]) / (scale[0].sqrt() + 1e-8)
        log_prob = torch.log_softmax(outputs, -1).gather(-1, action).squeeze(-1)
        ratio = (log_prob - old_log_prob).exp()
        surrogate = torch.min(ratio * normal, ratio.clamp(1.0 - CLIP, 1.0 + CLIP) * normal).mean()
        return 0.5 * functional.mse_loss(value.squeeze(-1), target) - surrogate

    def networks() -> tuple[MLP, MLP, Minimiser]:
        actor, critic = (MLP(4, [64, 64], n, "tanh", 1.0, Initialiser(0)) for n in (2, 1))
        return actor, critic, Minimiser([*actor.parameters(), *critic.parameters()], 1e-3, 0.5)

    def plain(parameters: list[Tensor], x: Tensor) -> Tensor:
        for at in range(0, len(parameters) - 2, 2):
            x = torch.tanh(functional.linear(x, parameters[at], parameters[at + 1]))
        return functional.linear(x, parameters[-2], parameters[-1])

    def by_autograd() -> Step:
        actor, critic, minimiser = networks()
        theirs = list(actor.parameters()), list(critic.parameters())
        return lambda: minimiser.step(loss(plain(theirs[0], rows), plain(theirs[1], rows)))

    def by_torch_optim(**options: Any) -> Step:
        actor, critic, _ = networks()
        parameters = [*actor.parameters(), *critic.parameters()]
        theirs = list(actor.parameters()), list(critic.parameters())
        adam = torch.optim.Adam(parameters, lr=1e-3, eps=1e-5, **options)

        def step() -> None:
            adam.zero_grad()
            loss(plain(theirs[0], rows), plain(theirs[1], rows)).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, 0.5)
            adam.step()

        return step

    def by_compiler(**options: Any) -> Step:
        _, _, minimiser = networks()
        shapes = [parameter.shape for parameter in minimiser.parameters]
        ends = np.cumsum([shape.numel() for shape in shapes]).tolist()
        moments = minimiser.first_moment, minimiser.second_moment

        def of(flat: Tensor) -> Tensor:
            starts = [0, *ends[:-1]]
            parts = [flat[a:b].view(shape) for a, b, shape in zip(starts, ends, shapes, strict=True)]
            return loss(plain(parts[:6], rows), plain(parts[6:], rows))

        def update(flat: Tensor, first: Tensor, second: Tensor, step: Tensor) -> None:
            gradient = torch.func.grad(of)(flat)
            gradient = gradient * (0.5 / (gradient.norm() + 1e-6)).clamp(max=1.0)
            first.lerp_(gradient, 0.1)
            second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            correction = (1.0 - 0.999**step).sqrt()
            rate = 1e-3 * correction / (1.0 - 0.9**step)
            flat.sub_(rate * first / (second.sqrt() + 1e-5 * correction))

        compiled_update = torch.compile(update, fullgraph=True, **options)
        count = torch.zeros(())

        def step() -> None:
            count.add_(1.0)
            with torch.no_grad():
                compiled_update(minimiser.flat, *moments, count)

        started = time.perf_counter()
        step()
        print(f"torch.compile {options or ''}: {time.perf_counter() - started:.1f} s until its first step is done")
        return step

    steps: dict[str, tuple[Step, int]] = {
        "torch.optim.Adam": (by_torch_optim(), 1),
        "torch.optim.Adam, fused": (by_torch_optim(fused=True), 1),
        "one flat vector": (by_autograd(), 1),
        "rlbridge (by hand)": (lambda: learner._epoch(batch, CLIP, measure=False), 1),
        "numpy by hand": (_in_numpy(batch), 1),
        "stable-baselines3": _sb3_ppo(),
    }
    if compiled:
        steps["torch.compile"] = (by_compiler(), 1)
    return steps


def _in_numpy(batch: PPOBatch) -> Step:
    """The same step in numpy, as a measure of what dispatch costs: in place, nothing allocated that is large."""
    rows, action, old_log_prob, advantage, target, _ = (column.numpy() for column in batch)
    nets = []
    start = 0
    flat = torch.cat(
        [
            parameter.detach().flatten()
            for outputs in (2, 1)
            for parameter in MLP(4, [64, 64], outputs, "tanh", 1.0, Initialiser(0)).parameters()
        ]
    ).numpy()
    gradient, first, second = np.zeros_like(flat), np.zeros_like(flat), np.zeros_like(flat)
    for outputs in (2, 1):
        net = []
        for i, o in ((4, 64), (64, 64), (64, outputs)):
            views = []
            for shape in ((o, i), (o,)):
                end = start + int(np.prod(shape))
                views += [flat[start:end].reshape(shape), gradient[start:end].reshape(shape)]
                start = end
            buffers = [np.empty((ROWS, width), np.float32) for width in (o, i)]
            net.append((*views, *buffers))
        nets.append(net)
    spare, ones, taken = np.empty((ROWS, 64), np.float32), np.ones(ROWS, np.float32), np.arange(ROWS)
    count = 0

    def forward(net: list[Any], x: Any) -> Any:
        for number, (weight, _, bias, _, y, _) in enumerate(net):
            np.dot(x, weight.T, out=y)
            y += bias
            x = np.tanh(y, out=y) if number < 2 else y
        return x

    def backward(net: list[Any], g: Any) -> None:
        for number in (2, 1, 0):
            weight, weight_gradient, _, bias_gradient, y, back = net[number]
            if number < 2:
                np.multiply(y, y, out=spare)
                np.subtract(1.0, spare, out=spare)
                np.multiply(g, spare, out=g)
            np.dot(g.T, net[number - 1][4] if number else rows, out=weight_gradient)
            np.dot(ones, g, out=bias_gradient)
            if number:
                g = np.dot(g, weight, out=back)

    def step() -> None:
        nonlocal count
        count += 1
        normal = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        logits, value = forward(nets[0], rows), forward(nets[1], rows)[:, 0]
        shifted = logits - logits.max(1, keepdims=True)
        log_probs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        ratio = np.exp(log_probs[taken, action[:, 0]] - old_log_prob)
        surrogate, clipped = ratio * normal, np.clip(ratio, 1.0 - CLIP, 1.0 + CLIP) * normal
        weight = (surrogate <= clipped) * surrogate * np.float32(-1.0 / ROWS)
        g = np.exp(log_probs) * -weight[:, None]
        g[taken, action[:, 0]] += weight
        backward(nets[0], g)
        backward(nets[1], (value - target)[:, None] * np.float32(1.0 / ROWS))
        gradient[:] *= min(1.0, 0.5 / (np.sqrt(np.dot(gradient, gradient)) + 1e-6))
        first[:] += np.float32(0.1) * (gradient - first)
        second[:] = np.float32(0.999) * second + np.float32(0.001) * gradient * gradient
        correction = np.sqrt(1.0 - 0.999**count)
        rate = np.float32(1e-3 * correction / (1.0 - 0.9**count))
        flat[:] -= rate * first / (np.sqrt(second) + np.float32(1e-5 * correction))

    return step


def _sb3_ppo() -> tuple[Step, int]:
    from stable_baselines3 import PPO as Theirs
    from stable_baselines3.common.env_util import make_vec_env

    model = Theirs(
        "MlpPolicy",
        make_vec_env("CartPole-v1", 8, seed=0),
        n_steps=32,
        batch_size=ROWS,
        n_epochs=20,
        device="cpu",
        seed=0,
    )
    model.learn(ROWS)
    return model.train, 20


CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "dqn": (
        "CartPole-v1",
        {"batch_size": 64},
        {"hidden": [256, 256], "activation": "relu"},
        {"target_update_interval": 10},
    ),
    "ddpg": ("Pendulum-v1", {"batch_size": 256}, {"hidden": [400, 300], "activation": "relu"}, {}),
    "td3": ("Pendulum-v1", {"batch_size": 256}, {"hidden": [400, 300], "activation": "relu"}, {}),
    "sac": ("Pendulum-v1", {"batch_size": 256}, {"hidden": [256, 256], "activation": "relu"}, {}),
}
"""Target, our settings, network, and Stable-Baselines3's keyword arguments."""


def algorithm_steps(name: str) -> dict[str, tuple[Step, int]]:
    import stable_baselines3

    target, settings, network, options = CASES[name]
    learner = learner_for(target, {"name": name, **settings}, network)
    env, rng, size = gymnasium.make(target), np.random.default_rng(0), settings["batch_size"]
    width = int(np.prod(env.observation_space.shape or ()))
    random = [
        torch.from_numpy(rng.normal(size=shape).astype(np.float32)) for shape in ((size, width), (size,), (size, width))
    ]
    action = (
        torch.from_numpy(rng.integers(0, 2, (size, 1)))
        if name == "dqn"
        else torch.from_numpy(rng.uniform(-1.0, 1.0, (size, 1)).astype(np.float32))
    )
    discount, weight = torch.full((size,), 0.99), torch.ones(size)

    def ours() -> None:
        # New rewards every time: a batch learned by heart has gradients so small that they are slow to compute with.
        reward = torch.from_numpy(rng.normal(size=size).astype(np.float32))
        learner.update(Batch(random[0], action, reward, discount, random[2], weight, np.arange(size)))

    model = getattr(stable_baselines3, name.upper())(
        "MlpPolicy",
        target,
        batch_size=size,
        learning_starts=300,
        policy_kwargs={"net_arch": network["hidden"]},
        device="cpu",
        seed=0,
        **options,
    )
    model.learn(310)
    return {
        "rlbridge": (ours, 1),
        "stable-baselines3": (lambda: model.train(gradient_steps=10, batch_size=size), 10),
    }


def pieces() -> dict[str, dict[str, tuple[Step, int]]]:
    """Pairs of ways to do one thing; the first is what is compared with."""
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    def without_gradients(function: Callable[[], Any]) -> tuple[Step, int]:
        def step() -> None:
            with torch.no_grad():
                function()

        return step, 1

    narrow = normal(256, 64)
    rows, weight, tiny = normal(256, 256), normal(256, 256), torch.full((256, 256), 1e-40)
    size = 134_658  # parameters of two critics 256 x 256 on Pendulum
    flat, gradient, first = normal(size), normal(size), normal(size)
    second = normal(size).square()

    def adam() -> None:
        first.lerp_(gradient, 0.1)
        second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        flat.addcdiv_(first, second.sqrt().add_(1e-5), value=-1e-9)

    minimiser = Minimiser([torch.nn.Parameter(normal(size))], 1e-9, None)
    minimiser.gradient.copy_(gradient)

    both, hidden, observed, slope = normal(2, 256, 256), normal(2, 256, 256), normal(256, 4), normal(256, 1)
    critics = [MLP(4, [256, 256], 1, "relu", 1.0, Initialiser(0)) for _ in range(2)]
    parameters = [parameter for critic in critics for parameter in critic.parameters()]
    Minimiser(parameters, 1e-9, None)
    tapes = [Tape(critic) for critic in critics]

    def by_autograd() -> None:
        torch.autograd.grad([critic(observed) for critic in critics], parameters, [slope, slope])

    def by_tapes(memory: Callable[[], Memory] | None) -> None:
        for critic, tape in zip(critics, tapes, strict=True):
            way = Tape(critic, memory=memory()) if memory else tape
            way.forward(observed)
            way.backward(slope)

    return {
        "Adam over 135 k parameters": {
            "a kernel an operation": without_gradients(adam),
            "one kernel": (minimiser.descend, 1),
        },
        "two critics 256 x 256, one layer": {
            "one after the other": without_gradients(lambda: [both[i] @ hidden[i].T for i in (0, 1)]),
            "batched": without_gradients(lambda: torch.bmm(both, hidden.mT)),
        },
        "two critics 256 x 256, forward and back": {
            "autograd": (by_autograd, 1),
            "by hand, fresh memory": without_gradients(lambda: by_tapes(Memory)),
            "by hand, memory used again": without_gradients(lambda: by_tapes(None)),
        },
        "product 256 x 256 x 256, by": {
            "MKL": without_gradients(lambda: torch.mm(rows, weight)),
            "oneDNN": without_gradients(lambda: torch.ops.mkldnn._linear_pointwise(rows, weight, None, "none", [], "")),
        },
        "tanh of 256 x 64, by": {
            "torch": without_gradients(lambda: torch.tanh(narrow)),
            "numpy": (lambda: np.tanh(narrow.numpy()), 1),
        },
        "product 256 x 256 x 256": {
            "of normal numbers": without_gradients(lambda: rows @ weight),
            "of subnormal numbers": without_gradients(lambda: tiny @ weight),
        },
    }


def acting(rounds: int) -> dict[str, list[float]]:
    """Milliseconds of CPU for the actions of 8 CartPoles, as a run draws them: each time after these have stepped."""
    envs = gymnasium.make_vec("CartPole-v1", 8)
    observation, _ = envs.reset(seed=0)
    policy = learner_for("CartPole-v1", {"name": "ppo"}, {"hidden": [64, 64]}, num_envs=8).policy
    noise = policy.distribution.noise(8, generator=policy.generator)

    @torch.inference_mode()
    def in_torch() -> Any:
        return policy.distribution.sample(policy(torch.from_numpy(observation)), noise).numpy()

    ways = {"torch": in_torch, "numpy": lambda: policy.draw(observation, noise.numpy())}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):  # the first round warms up
        for name, draw in ways.items():
            taken, steps = 0.0, 300
            for _ in range(steps):
                started = time.process_time()
                action = draw()
                taken += time.process_time() - started
                envs.step(policy.actions.to_environment(action))
            times[name].append(taken / steps * 1e3)
    return {name: values[1:] for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["ppo", "algorithms", "pieces", "acting"], help="all by default")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tables: dict[str, Callable[[], dict[str, list[float]]]] = {}
    if "ppo" in arguments.what:
        tables["ppo"] = lambda: measure(ppo_steps(arguments.compile), arguments.rounds)
    if "algorithms" in arguments.what:
        tables |= {name: lambda name=name: measure(algorithm_steps(name), arguments.rounds) for name in CASES}
    if "pieces" in arguments.what:
        tables |= {title: lambda pair=pair: measure(pair, arguments.rounds) for title, pair in pieces().items()}
    if "acting" in arguments.what:
        tables["acting, 8 rows, 64 x 64, between steps of 8 CartPoles"] = lambda: acting(arguments.rounds)
    results = {}
    for title, measured in tables.items():
        times = measured()
        reference = "stable-baselines3" if "stable-baselines3" in times else next(iter(times))
        against = times[reference]
        results[title] = {
            name: {
                "ms": round(statistics.median(values), 3),
                "times_as_fast": round(statistics.median(b / a for a, b in zip(values, against, strict=True)), 2),
            }
            for name, values in times.items()
        }
        if not arguments.json:
            print(title)
            for name, figures in results[title].items():
                print(f"  {name:24} {figures['ms']:8.3f} ms   {figures['times_as_fast']:5.2f} x {reference}")
    if arguments.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
