"""PPO on CartPole: environment steps per second of ours, CleanRL's form and Stable-Baselines3, in one run.

    python ppo_peers.py --ours target/release/ppo_speed --rounds 3

Same problem for all: CartPole-v1, 8 environments of 128 steps, two separate networks of 2 x 64 tanh, minibatches of
256, 4 epochs, one thread. The programs take turns; each figure is a median over the rounds, and ratios are of these.
Two clocks: wall, which counts rollout and learning only, and processor time of the process, which does not mind what
else the machine does. The latter counts for ours its start and 50,000 single decisions too, and for the others nothing
but rollout and learning.

CleanRL is a collection of single files, not a library, and what is on PyPI under its name is an old one without
vectorised environments. `cleanrl_form` below is our own code in the form of its `ppo.py`: the same steps in the same
libraries, one after the other, without its logging.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import time
from importlib.metadata import version

# Before torch is imported: one thread, as for ours.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

ENVIRONMENTS, STEPS, MINIBATCH, EPOCHS = 8, 128, 256, 4
BATCH = ENVIRONMENTS * STEPS
RATE, GAMMA, LAMBDA, CLIP, ENTROPY, VALUE, NORM = 2.5e-4, 0.99, 0.95, 0.2, 0.01, 0.5, 0.5


def layer(inputs, outputs, gain=np.sqrt(2)):
    made = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(made.weight, gain)
    nn.init.constant_(made.bias, 0.0)
    return made


def network(inputs, outputs, gain):
    return nn.Sequential(layer(inputs, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, outputs, gain))


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.critic = network(4, 1, 1.0)
        self.actor = network(4, 2, 0.01)

    def act(self, observation, action=None):
        distribution = Categorical(logits=self.actor(observation))
        if action is None:
            action = distribution.sample()
        return action, distribution.log_prob(action), distribution.entropy(), self.critic(observation)


def cleanrl_form(total):
    """Steps, wall and processor seconds, and the mean return of the last 100 episodes."""
    torch.manual_seed(1)

    def make():
        return gym.wrappers.RecordEpisodeStatistics(gym.make("CartPole-v1"))

    envs = gym.vector.SyncVectorEnv([make for _ in range(ENVIRONMENTS)])
    agent = Agent()
    optimiser = torch.optim.Adam(agent.parameters(), lr=RATE, eps=1e-5)
    shape = (STEPS, ENVIRONMENTS)
    observations = torch.zeros(shape + (4,))
    actions, log_probs, rewards, dones, values = (torch.zeros(shape) for _ in range(5))
    returned = []
    observation = torch.Tensor(envs.reset(seed=1)[0])
    done = torch.zeros(ENVIRONMENTS)
    updates = total // BATCH
    started = time.perf_counter(), time.process_time()
    for update in range(updates):
        optimiser.param_groups[0]["lr"] = (1.0 - update / updates) * RATE
        for step in range(STEPS):
            observations[step], dones[step] = observation, done
            with torch.no_grad():
                action, log_prob, _, value = agent.act(observation)
            values[step], actions[step], log_probs[step] = value.flatten(), action, log_prob
            next_observation, reward, terminated, truncated, infos = envs.step(action.numpy())
            rewards[step] = torch.tensor(reward).view(-1)
            observation = torch.Tensor(next_observation)
            ended = np.logical_or(terminated, truncated)
            done = torch.Tensor(ended)
            if "episode" in infos:
                returned.extend(infos["episode"]["r"][infos["_episode"]])
        with torch.no_grad():
            next_value = agent.critic(observation).reshape(1, -1)
            advantages = torch.zeros_like(rewards)
            last = 0
            for t in reversed(range(STEPS)):
                alive = 1.0 - (done if t == STEPS - 1 else dones[t + 1])
                after = next_value if t == STEPS - 1 else values[t + 1]
                delta = rewards[t] + GAMMA * after * alive - values[t]
                advantages[t] = last = delta + GAMMA * LAMBDA * alive * last
            returns = advantages + values
        flat = [t.reshape(-1) for t in (log_probs, actions, advantages, returns, values)]
        b_observations = observations.reshape(-1, 4)
        b_log_probs, b_actions, b_advantages, b_returns, b_values = flat
        order = np.arange(BATCH)
        for _ in range(EPOCHS):
            np.random.shuffle(order)
            for start in range(0, BATCH, MINIBATCH):
                rows = order[start : start + MINIBATCH]
                _, log_prob, entropy, value = agent.act(b_observations[rows], b_actions.long()[rows])
                log_ratio = log_prob - b_log_probs[rows]
                ratio = log_ratio.exp()
                with torch.no_grad():
                    _ = (-log_ratio).mean(), ((ratio - 1) - log_ratio).mean()
                    _ = ((ratio - 1.0).abs() > CLIP).float().mean().item()
                advantage = b_advantages[rows]
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                policy = torch.max(-advantage * ratio, -advantage * torch.clamp(ratio, 1 - CLIP, 1 + CLIP)).mean()
                value = value.view(-1)
                moved = b_values[rows] + torch.clamp(value - b_values[rows], -CLIP, CLIP)
                error = torch.max((value - b_returns[rows]) ** 2, (moved - b_returns[rows]) ** 2)
                loss = policy - ENTROPY * entropy.mean() + VALUE * 0.5 * error.mean()
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), NORM)
                optimiser.step()
    seconds = time.perf_counter() - started[0], time.process_time() - started[1]
    envs.close()
    return updates * BATCH, *seconds, float(np.mean(returned[-100:]))


def stable_baselines(total):
    """Steps, wall and processor seconds, and the mean return of the last 100 episodes."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    model = PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=ENVIRONMENTS, seed=1),
        learning_rate=lambda left: left * RATE,
        n_steps=STEPS,
        batch_size=MINIBATCH,
        n_epochs=EPOCHS,
        gamma=GAMMA,
        gae_lambda=LAMBDA,
        clip_range=CLIP,
        clip_range_vf=CLIP,
        ent_coef=ENTROPY,
        vf_coef=VALUE,
        max_grad_norm=NORM,
        policy_kwargs={"net_arch": {"pi": [64, 64], "vf": [64, 64]}},
        device="cpu",
        seed=1,
    )
    started = time.perf_counter(), time.process_time()
    model.learn(total // BATCH * BATCH)
    seconds = time.perf_counter() - started[0], time.process_time() - started[1]
    return model.num_timesteps, *seconds, float(np.mean([info["r"] for info in model.ep_info_buffer]))


def processor_time():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ours(binary, total, decisions, *arguments):
    before = processor_time()
    output = subprocess.run(
        [binary, "--json", "--steps", str(total), *arguments], check=True, capture_output=True, text=True
    )
    found = json.loads(output.stdout)
    decisions.append(found["decision_us"])
    return total, total / found["steps_per_second"], processor_time() - before, found["return"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True, help="the program ppo_speed, built with --release")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1_000_000, help="environment steps of ours")
    parser.add_argument("--peer-steps", type=int, default=100_000, help="environment steps of the others")
    options = parser.parse_args()
    torch.set_num_threads(1)
    decisions = []
    runs = {
        "ours": lambda: ours(options.ours, options.steps, decisions),
        "ours, candle": lambda: ours(options.ours, options.peer_steps, [], "--candle"),
        "CleanRL's form": lambda: cleanrl_form(options.peer_steps),
        "Stable-Baselines3": lambda: stable_baselines(options.peer_steps),
    }
    speeds = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            steps, wall, processor, returned = run()
            speeds[name].append((steps / wall, steps / processor))
            print(f"# {name}: {steps / wall:.0f}/s, {steps / processor:.0f} per cpu s, return {returned:.0f}", flush=True)
    medians = {name: [statistics.median(clock) for clock in zip(*found)] for name, found in speeds.items()}
    print("\n| | steps/s, wall | ours, times | steps per processor second | ours, times |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, (wall, processor) in medians.items():
        best = medians["ours"]
        print(f"| {name} | {wall:.3g} | {best[0] / wall:.1f} | {processor:.3g} | {best[1] / processor:.1f} |")
    print(f"\nOne decision of 96-128-128-40: {statistics.median(decisions):.1f} us")
    print(f"torch {torch.__version__}, gymnasium {gym.__version__}, stable-baselines3 {version('stable-baselines3')}")


if __name__ == "__main__":
    main()
