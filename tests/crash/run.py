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
    parser.add_argument("--warehouse", choices=("duckdb", "postgresql"), default="duckdb")
    parser.add_argument("--delivery", action="store_true", help="kill what delivers to other tools")
    parser.add_argument("--folder", type=Path, help="an empty folder to work in; kept afterwards")
    chosen = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="headrace-crash-") as temporary:
        folder = chosen.folder or Path(temporary)
        if chosen.delivery:
            faults = _delivery(folder, chosen.rounds, chosen.seed)
        elif chosen.warehouse == "postgresql":
            faults = _postgresql(folder, chosen.rounds, chosen.seed)
        else:
            report = torture(folder, chosen.rounds, chosen.seed, tell=True)
            print("\n".join(report.lines()))
            faults = report.verdict.faults
    print(f"seed {chosen.seed}, {time.monotonic() - began:.0f} s")
    return 1 if faults else 0


def _delivery(folder: Path, rounds: int, seed: int) -> list[str]:
    """Returns what was found."""
    from crash.delivering import torture

    report = torture(folder, rounds, seed, tell=True)
    print("\n".join(report.lines()))
    return report.verdict.faults


def _postgresql(folder: Path, rounds: int, seed: int) -> list[str]:
    """Half of the rounds kill the processes of a server, the others two loaders that compete. Returns what was found."""
    from functools import partial

    from crash.contest import contest
    from crash.postgresql_scene import PostgreSQLScene
    from crash.torture import torture
    from postgresql_server import PostgreSQLServer

    postgresql = PostgreSQLServer()
    try:
        kills, fights = folder / "kills", folder / "contest"
        kills.mkdir()
        fights.mkdir()
        stage = partial(PostgreSQLScene, postgresql=postgresql)
        report = torture(kills, rounds - rounds // 2, seed, tell=True, stage=stage)
        print("\n".join(report.lines()), flush=True)
        outcome = contest(stage(fights, seed), rounds // 2, seed, tell=True)
        print("\n".join(outcome.lines()))
        return [*report.verdict.faults, *outcome.verdict.faults]
    finally:
        postgresql.remove()


if __name__ == "__main__":
    sys.exit(main())
