"""Training steps per second of one process and of two at once, by how OpenMP threads wait.

``--seconds`` is the time of each measurement, ``--rounds`` how often all are repeated.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys

VARIANTS = {
    "as by default": {},
    "GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
PROGRAM = """
import sys, time, torch
from sagemaker_sift.trainer.model import build_model
model = build_model(20, (3, 28, 28), 10).to(memory_format=torch.channels_last)
images = torch.randn(32, 3, 28, 28).to(memory_format=torch.channels_last)
labels = torch.randint(0, 10, (32,))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
steps, start = 0, time.perf_counter()
while time.perf_counter() - start < float(sys.argv[1]):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()
    steps += 1
print(steps / (time.perf_counter() - start), torch.__version__)
"""


def measure(variables: dict[str, str], num_processes: int, seconds: float) -> list[float]:
    """Return the steps per second of each of several processes at once."""
    command = [sys.executable, "-c", PROGRAM, str(seconds)]
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}
    } | variables
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(num_processes)
    ]
    return [float(process.communicate()[0].split()[0]) for process in processes]


def main() -> None:
    """Measure all variants in turn and print median and spread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    results: dict[tuple[str, int], list[float]] = {}
    for _ in range(options.rounds):
        for name, variables in VARIANTS.items():
            for count in (1, 2):
                rates = measure(variables, count, options.seconds)
                results.setdefault((name, count), []).extend(rates)
    print(f"{os.cpu_count()} cores, {platform.machine()}, steps/s of each process")
    print(f"{'threads wait':26} {'processes':>9} {'median':>7} {'min':>7} {'max':>7}")
    for (name, count), rates in results.items():
        median = statistics.median(rates)
        print(f"{name:26} {count:9} {median:7.2f} {min(rates):7.2f} {max(rates):7.2f}")


if __name__ == "__main__":
    main()
