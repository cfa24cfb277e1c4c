"""What ``import sagemaker_sift`` adds to a bare interpreter.

Each statement is timed as a whole process, all in turn, several rounds; the medians, the spread
and the difference to the bare interpreter of the same round are printed.
"""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import time

STATEMENTS = {
    "bare interpreter": "pass",
    "import sagemaker_sift": "import sagemaker_sift",
    "import its estimator": "import sagemaker_sift.estimator",
    "import boto3": "import boto3",
}
ROUNDS = 11


def measure_s(statement: str) -> float:
    """Return the seconds that a process with this statement takes."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print the table."""
    for statement in STATEMENTS.values():
        measure_s(statement)
    rounds = [{name: measure_s(text) for name, text in STATEMENTS.items()} for _ in range(ROUNDS)]
    print(f"Python {platform.python_version()}, {platform.machine()}, n={ROUNDS}, seconds")
    print(f"{'statement':38} {'median':>7} {'min':>7} {'max':>7} {'added':>7}")
    for name in STATEMENTS:
        values = [entry[name] for entry in rounds]
        added = statistics.median(entry[name] - entry["bare interpreter"] for entry in rounds)
        print(
            f"{name:38} {statistics.median(values):7.3f} {min(values):7.3f} {max(values):7.3f}"
            f" {added:7.3f}"
        )


if __name__ == "__main__":
    main()
