"""`make crash`: many rounds of kill -9 under load on one data folder, and what became of every acknowledged event."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path


def main() -> int:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from crash.torture import torture

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="an empty folder to work in; kept afterwards")
    chosen = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="headrace-crash-") as temporary:
        report = torture(chosen.folder or Path(temporary), chosen.rounds, chosen.seed, tell=True)
    print("\n".join(report.lines()))
    print(f"seed {chosen.seed}, {time.monotonic() - began:.0f} s")
    return 1 if report.verdict.faults else 0


if __name__ == "__main__":
    sys.exit(main())
