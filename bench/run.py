"""All measurements in one run, and one table at the end: `make bench`, or `make bench PARTS=collector,loads`.

python bench/run.py [part,part,...]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence

import backlog
import collector
import console_debugger
import console_pages
import console_reports
import console_sql
import delivery
import email_model
import event_delivery
import explosion
import freshness
import loads
import sharing
import warehouse_clickhouse
import warehouse_duckdb
import warehouse_iceberg
import warehouse_postgresql
from figures import Figure, table
from machine import QUIET_YARDSTICK, description

PARTS: Mapping[str, Callable[[], Sequence[Figure]]] = {
    "collector": collector.figures,
    "loads": loads.figures,
    "duckdb": warehouse_duckdb.figures,
    "postgresql": warehouse_postgresql.figures,
    "clickhouse": warehouse_clickhouse.figures,
    "iceberg": warehouse_iceberg.figures,
    "sharing": sharing.figures,
    "explosion": explosion.figures,
    "freshness": freshness.figures,
    "backlog": backlog.figures,
    "delivery": delivery.figures,
    "event_delivery": event_delivery.measured,
    "email_model": email_model.figures,
    "console_pages": console_pages.figures,
    "console_debugger": console_debugger.figures,
    "console_reports": console_reports.figures,
    "console_sql": console_sql.figures,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="?", default="", help=f"of {', '.join(PARTS)}; all of them if empty")
    chosen = [part for part in parser.parse_args().parts.replace(",", " ").split() if part] or list(PARTS)
    unknown = sorted(set(chosen) - PARTS.keys())
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    began = time.monotonic()
    print(description(), flush=True)
    found: list[Figure] = []
    for part in chosen:
        print(f"\n{part}", flush=True)
        found += PARTS[part]()
    missed = sum(figure.verdict == "NOT met" for figure in found)
    limits = sum(figure.limit is not None for figure in found)
    print(f"\n{table(found)}\n")
    print(
        f"{limits - missed} of {limits} limits met, {missed} NOT met, in {(time.monotonic() - began) / 60:.0f} minutes. `scaled` is what it would be "
        f"where json.loads of 1.1 KB takes {QUIET_YARDSTICK} us, as on the quiet machine for which the limits were set; verdicts are about `measured`."
    )


if __name__ == "__main__":
    main()
