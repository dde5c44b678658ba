"""``cocoscribe demo``: serve the bundled scenes, write an input that names them, run the flow of ``cocoscribe run``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from rich.console import Console

from flows.config import RunConfig
from flows.demo.limits import demo_limits
from flows.demo.server import demo_server
from flows.demo.source import DEFAULT_ROWS, write_source
from flows.demo.summary import print_summary, summarise
from flows.watch import run_and_watch
from tasks.durable import write_json
from tasks.errors import UserError
from tasks.plan import PlanSettings

# Four partitions of the default input: enough to see them overlap.
PARTITION_ROWS = 80
# Fixed if it is free, so that two demos have equal URLs and can be compared file by file. Below 32,768, where Linux
# begins to take ports for outgoing connections.
PREFERRED_PORT = 28_601


def run_demo(out: Path, rows: int | None, workers: int | None, as_json: bool) -> None:
    """Run the demo into ``out`` from the start. An earlier demo there is replaced, anything else refused."""
    out = out.absolute()
    if rows is not None and rows < 1:
        raise UserError("--rows must be at least 1")
    _clear(out)
    console = Console(stderr=as_json)
    with demo_server(PREFERRED_PORT) as server:
        config = RunConfig(
            sources=(write_source(out / "_input" / "scenes.parquet", server.base, rows or DEFAULT_ROWS),),
            out=out,
            plan=PlanSettings(partition_rows=PARTITION_ROWS),
            download=demo_limits(server.allow_host),
            workers=workers,
        )
        outcome = run_and_watch(config, console)
    summary = summarise(out, outcome.status, outcome.seconds, outcome.rows_done)
    print_summary(summary, console)
    if as_json:
        print(json.dumps(summary.to_json(), ensure_ascii=False), flush=True)


def _clear(out: Path) -> None:
    mark = out / "_input" / "demo.json"
    if out.exists() and not (out.is_dir() and (mark.exists() or not any(out.iterdir()))):
        raise UserError(f"{out} exists and is not a demo's output; give another --out")
    try:
        if out.exists():
            shutil.rmtree(out)
        write_json(mark, {"what": "output of 'cocoscribe demo'; the next demo replaces this directory"})
    except OSError as reason:
        raise UserError(f"cannot write to {out}: {reason.strerror}") from None
