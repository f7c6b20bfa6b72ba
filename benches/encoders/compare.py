"""Ways to read a past, compared: how dear are the choices of a network that is taught by what each choice cost?

Rows come from `encoder_rows` (see README.md). Every network learns by the teacher alone, on the same rows and for as many passes; it
is judged on episodes of other services and seeds, by the cost of its likeliest choice over what the best choice cost, which the
teacher knows only with the future in hand. Whoever always takes the anchor is the yardstick.
"""

import argparse
import json
import time

import numpy as np
import torch
from torch import nn

COSTS, PAST = 21, 256
ANCHOR = 9  # the choice that is the anchor itself: "keep" is the first, then the factors
HISTORY = ("past_", "mean_to_", "highest_to_", "restless_", "peak", "since_peak", "onsets", "above", "empty")


def read(path, features):
    rows = np.fromfile(path, dtype="<f4").reshape(-1, 1 + features + PAST + COSTS)
    episode, observation, past, costs = np.split(rows, [1, 1 + features, 1 + features + PAST], axis=1)
    return episode[:, 0].astype(int), observation, past, costs


class Reader(nn.Module):
    """Features, and a past read by `encoder`, through two layers of 128, as the policy has."""

    def __init__(self, features, encoder=None, width=0):
        super().__init__()
        self.encoder = encoder
        self.layers = nn.Sequential(
            nn.Linear(features + width, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, COSTS)
        )
        # Begins near the anchor, as the policy does.
        self.layers[-1].weight.data.mul_(0.01)
        self.layers[-1].bias.data.zero_()
        self.layers[-1].bias.data[ANCHOR] = 2.0

    def forward(self, features, past):
        if self.encoder is not None:
            features = torch.cat([features, self.encoder(past)], dim=1)
        return self.layers(features)


class Recurrent(nn.Module):
    """A GRU of 32 units over the past, oldest first, in means of eight steps but for the newest sixteen."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRU(2, 32, batch_first=True)

    def forward(self, past):
        near, far = past[:, :, :16], past[:, :, 16:]
        far = far.reshape(far.shape[0], 2, -1, 8).mean(dim=3)
        steps = torch.cat([near, far], dim=2).flip(2).transpose(1, 2)
        return self.cell(steps)[1][0]


class Convolutional(nn.Module):
    """Four convolutions of width five, each halving the past twice, 24 channels."""

    def __init__(self):
        super().__init__()
        layers, channels = [], 2
        for stride in (2, 4, 4, 4):
            layers += [nn.Conv1d(channels, 24, 5, stride=stride, padding=2), nn.ReLU()]
            channels = 24
        self.layers = nn.Sequential(*layers, nn.Flatten())

    def forward(self, past):
        return self.layers(past)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("train")
    arguments.add_argument("test")
    arguments.add_argument("names", help="a file with the names of features, which encoder_rows prints last")
    arguments.add_argument("--passes", type=int, default=8)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--only", help="comma-separated names of readers")
    arguments = arguments.parse_args()
    torch.set_num_threads(arguments.threads)

    with open(arguments.names, encoding="utf-8") as file:
        names = file.read().split()
    history = np.array([name.startswith(HISTORY) for name in names])
    _, seen, past, costs = read(arguments.train, len(names))
    test_episode, test_seen, test_past, test_costs = read(arguments.test, len(names))
    mean, deviation = seen.mean(axis=0), seen.std(axis=0) + 1e-6

    def tensors(seen, past, costs):
        there = (past < 8.0).astype(np.float32)
        past = np.stack([np.clip(past, -4.0, 4.0) * there, there], axis=1)
        features = np.clip((seen - mean) / deviation, -10.0, 10.0)
        return [torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)) for array in (features, past, costs)]

    rows, held = tensors(seen, past, costs), tensors(test_seen, test_past, test_costs)
    forbidden, held_forbidden = torch.isnan(rows[2]), torch.isnan(held[2])
    # What is cut off weighs as much as ten steps.
    rows[2] = rows[2].nan_to_num(0.0).clamp(max=10.0)
    held[2] = held[2].nan_to_num(0.0)
    plain = torch.from_numpy(np.flatnonzero(~history))
    everything = torch.arange(len(names))
    flat = nn.Sequential(nn.Flatten())
    readers = {
        "no past": (plain, lambda: None, 0),
        "features of the past (as ours)": (everything, lambda: None, 0),
        "all 256 loads as they are": (plain, lambda: flat, 2 * PAST),
        "recurrent": (plain, Recurrent, 32),
        "convolutional": (plain, Convolutional, 48),
        "features and recurrent": (everything, Recurrent, 32),
        "features and convolutional": (everything, Convolutional, 48),
    }
    if arguments.only:
        readers = {name: readers[name] for name in arguments.only.split(",")}

    def judge(choice):
        """Mean over episodes of the cost beyond the best choice, and of that of the anchor, paired."""
        cost = held[2].gather(1, choice[:, None])[:, 0].numpy()
        count = np.bincount(test_episode)
        by_episode = np.bincount(test_episode, cost)[count > 0] / count[count > 0]
        return by_episode

    allowed = (~held_forbidden[:, ANCHOR]).numpy()
    at_anchor = torch.full((len(test_episode),), ANCHOR)
    # Where the anchor is no choice of its own, another means the same number of pods: the nearest that is allowed.
    distance = (torch.arange(COSTS)[None, :] - ANCHOR).abs() + 1000 * held_forbidden
    at_anchor = torch.where(torch.from_numpy(allowed), at_anchor, distance.argmin(dim=1))
    anchor = judge(at_anchor)
    print(json.dumps({"reader": "the anchor", "rows": len(seen), "episodes": len(anchor), "cost": float(anchor.mean())}))
    for name, (columns, encoder, width) in readers.items():
        for seed in range(1, arguments.seeds + 1):
            torch.manual_seed(seed)
            model = Reader(len(columns), encoder(), width)
            numbers = sum(parameter.numel() for parameter in model.parameters())
            optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
            batches = (len(seen) + 511) // 512
            schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, arguments.passes * batches)
            generator = torch.Generator().manual_seed(seed)
            started = time.process_time()
            for number in range(arguments.passes):
                # Else all that a network learns before it can tell states apart is to take the anchor, and it never leaves it.
                weight = 0.05 + (0.003 - 0.05) * number / max(arguments.passes - 1, 1)
                for batch in torch.randperm(len(seen), generator=generator).split(512):
                    logits = model(rows[0][batch][:, columns], rows[1][batch]).masked_fill(forbidden[batch], -1e9)
                    chances = logits.softmax(dim=1)
                    entropy = -(chances * chances.clamp_min(1e-9).log()).sum(dim=1)
                    loss = ((chances * rows[2][batch]).sum(dim=1) - weight * entropy).mean()
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                    schedule.step()
            with torch.no_grad():
                parts = range(0, len(held[0]), 4096)
                logits = torch.cat([model(held[0][at : at + 4096][:, columns], held[1][at : at + 4096]) for at in parts])
                own = judge(logits.masked_fill(held_forbidden, -1e9).argmax(dim=1))
            gain = own - anchor
            row = {
                "reader": name,
                "seed": seed,
                "numbers": numbers,
                "cost": round(float(own.mean()), 4),
                "beside the anchor": round(float(gain.mean()), 4),
                "standard error": round(float(gain.std() / len(gain) ** 0.5), 4),
                "seconds": round(time.process_time() - started, 1),
            }
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
