#!/usr/bin/env python3
"""Writes one small trace per format into this folder, always the same ones.

The samples show the formats and serve tests; no row is taken from a public trace.
"""

import datetime
import math
import pathlib
import random

FOLDER = pathlib.Path(__file__).resolve().parent
MIDNIGHT = datetime.datetime(2020, 1, 1)


def write(name, header, rows):
    """Writes a file of comma-separated rows."""
    lines = [header] + [",".join(str(field) for field in row) for row in rows]
    (FOLDER / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def arrivals(rng, rate, cv, count):
    """Instants in seconds with Gamma inter-arrival times of the given rate (1/s) and CV."""
    shape = 1 / cv**2
    time = 0.0
    for _ in range(count):
        yield time
        time += rng.gammavariate(shape, 1 / (rate * shape))


def daily(rng, hour, mean):
    """A noisy daily course around `mean`, lowest at 4 o'clock."""
    course = 1 - 0.6 * math.cos((hour - 4) / 24 * math.tau)
    return mean * course * rng.uniform(0.9, 1.1)


def azure_llm(rng):
    rows = []
    for time in arrivals(rng, rate=2.0, cv=3.0, count=80):
        # The format has seven digits of a second, one more than datetime formats.
        stamp = (MIDNIGHT + datetime.timedelta(seconds=round(time, 6))).isoformat(" ", "microseconds")
        rows.append((f"{stamp}0", rng.randint(100, 4000), rng.randint(5, 200)))
    write("azure-llm", "TIMESTAMP,ContextTokens,GeneratedTokens", rows)


def mooncake(rng):
    rows = []
    for time in arrivals(rng, rate=4.0, cv=1.0, count=100):
        length = rng.randint(500, 30000)
        rows.append((round(time * 1000), length, rng.randint(4, 400), math.ceil(length / 512)))
    write("mooncake", "timestamp_ms,input_length,output_length,n_hash_blocks", rows)


def timestamps(rng):
    write("timestamps", "timestamp_s", ((f"{time:.6f}",) for time in arrivals(rng, rate=5.0, cv=1.5, count=120)))


def nab(rng):
    rows = []
    for index in range(96):
        # A window without requests has no row.
        if index in (20, 55):
            continue
        stamp = MIDNIGHT + datetime.timedelta(minutes=4 + 5 * index)
        rows.append((stamp, float(round(daily(rng, index / 12, 60) + 1))))
    write("nab", "timestamp,value", rows)


def worldcup98(rng):
    rows = []
    for index in range(120):
        if index in (30, 31, 90):
            continue
        rows.append((MIDNIGHT + datetime.timedelta(minutes=index), rng.randint(1, 400)))
    write("worldcup98", "period,count", rows)


def servegen_rates(rng):
    rows = ((600 * index, f"{daily(rng, index / 6, 500):.5f}") for index in range(144))
    write("servegen-rates", "timestamp_s,total_rate_req_per_s", rows)


def servegen_clients(rng):
    rows = []
    for client in range(3):
        for index in range(12):
            if rng.random() < 0.2:
                continue
            rate = daily(rng, index, 10 * (client + 1))
            if client == 1:
                law, shape = "Weibull", rng.uniform(0.5, 0.9)
                first, second = math.gamma(1 + 1 / shape), math.gamma(1 + 2 / shape)
                scale, cv = 1 / (rate * first), math.sqrt(second / first**2 - 1)
            else:
                law, shape = "Gamma", rng.uniform(0.2, 1.2)
                scale, cv = 1 / (rate * shape), 1 / math.sqrt(shape)
            figures = (f"{value:.9g}" for value in (rate, cv))
            rows.append((client, 600 * index, *figures, law, f"{shape:.9g}", f"{scale:.9g}"))
    write("servegen-clients", "client,timestamp_s,rate_req_per_s,cv,dist,param1,param2", rows)


def kisim(rng):
    rows = []
    time, previous = 0.0, ""
    for step in range(24):
        users = round(55 + 45 * math.sin(step / 12 * math.tau))
        rows.append(("sample", f"{time:.3f}", users, previous))
        time, previous = time + rng.uniform(5, 9), users
    # A run ends with a row that measures the last step and sets no users.
    rows.append(("sample", "", "", previous))
    write("kisim", "run_id,t_s,users_target,users_prev_target", rows)


def rates(rng):
    rows, time = [], 0.0
    for step in range(40):
        rows.append((f"{time:.1f}", f"{20 + 15 * math.sin(step / 20 * math.tau) + rng.uniform(-2, 2):.3f}"))
        time += rng.choice((10, 15, 30))
    write("rates", "start_s,rate", rows)


def main():
    makers = (
        azure_llm, mooncake, timestamps, nab, worldcup98, servegen_rates, servegen_clients, kisim, rates
    )
    for seed, maker in enumerate(makers, start=1):
        maker(random.Random(seed))


if __name__ == "__main__":
    main()
