"""The command line ``cocoscribe``. Heavy imports wait until a command needs them, so that --help is quick."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from flows.models_cli import models_app

app = App(
    name="cocoscribe",
    help="Caption web images at scale in the style of MS COCO: watched, gated, resumable.",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)
app.command(models_app)

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object as the last line.")]


def main() -> None:
    """Entry point: one line for a user's mistake, exit code 2 for usage, 1 for failure, 130 after Ctrl-C."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command line; returns the exit code."""
    from models.identity import ModelError
    from tasks.errors import CaptionPipelineError, UserError

    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except cyclopts.CycloptsError as reason:
        return _complain(f"{' '.join(str(reason).split())}; see 'cocoscribe --help'", 2)
    except UserError as reason:
        return _complain(str(reason), 2)
    except (CaptionPipelineError, ModelError) as reason:
        return _complain(str(reason), 1)
    except BrokenPipeError:
        # The reader of our output has left: 'cocoscribe status OUT | head'.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        _complain("stopped; the same command goes on where this one ended", 130)
        sys.stderr.flush()
        # Threads that wait for a partition would hold the process; their files say where they stand.
        os._exit(130)
    return 0


def _complain(line: str, code: int) -> int:
    print(f"cocoscribe: {line}", file=sys.stderr)
    return code


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


@app.command
def run(
    *sources: Path,
    out: Path,
    profile: str | None = None,
    config: Path | None = None,
    partition_rows: int | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    seed: int | None = None,
    limit: int | None = None,
    url_col: str | None = None,
    text_col: str | None = None,
    allow_host: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    json: Json = False,
) -> None:
    """Caption the images of parquet files: download, caption, rank, repair, validate, publish.

    The same command again goes on where the last one ended; a run that is complete is left alone.

    Parameters
    ----------
    sources
        Parquet files, or directories of them.
    out
        Directory of the run; made if missing.
    profile
        Models and hyperparameters: embedded (default), laion-coco, laion-idle-cap.
    config
        TOML file with further settings; what is given here wins.
    partition_rows
        Rows per partition, the unit of retry (10,000).
    workers
        Worker processes on this machine; one per GPU, or per core up to four.
    scheduler
        Address of a running Dask scheduler, in place of workers on this machine.
    seed
        Of the captioner's draws (0).
    limit
        Only the first rows.
    url_col
        Column of image addresses (URL).
    text_col
        Column of alt-texts (TEXT).
    allow_host
        HOST or HOST:PORT that may be fetched though its address is not public; may be repeated.
    """
    from flows.config import load_config
    from flows.watch import as_json, run_and_watch
    from tasks.errors import UserError

    if not sources:
        raise UserError("no input: cocoscribe run SOURCE... --out DIR")
    if workers and scheduler:
        raise UserError("--workers is for this machine and --scheduler for another: give one of them")
    if scheduler and not os.environ.get("PREFECT_API_URL"):
        raise UserError("--scheduler needs PREFECT_API_URL: a Prefect server that the workers reach too")
    given = {"profile": profile, "workers": workers, "scheduler": scheduler, "seed": seed}
    plan = {"partition_rows": partition_rows, "limit": limit, "url_column": url_col, "text_column": text_col}
    overrides: dict[str, Any] = {
        "sources": sources,
        "out": out.absolute(),
        **_given(given),
        "plan": _given(plan),
        "download": {"allow_hosts": allow_host} if allow_host else {},
    }
    outcome = run_and_watch(load_config(config, overrides), Console(stderr=True))
    if json:
        _print_json(as_json(outcome))
        return
    console = Console()
    if not outcome.partitions_done:
        console.print(f"Nothing to do: all {outcome.status.partitions} partitions are published in {out}")
        return
    _print_status(console, outcome.status)
    console.print(
        f"{outcome.rows_done / outcome.seconds:.1f} images/s over {outcome.seconds:.0f} s. Data: {out}/data"
    )
    console.print(f"Report: {out}/reports/index.html")


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


@app.command
def retry(out: Path, *, json: Json = False) -> None:
    """Take the failed and unfinished partitions of a run through again, with the run's own settings.

    Parameters
    ----------
    out
        Directory of the run.
    """
    from flows.settings import read_config
    from flows.watch import as_json, run_and_watch

    outcome = run_and_watch(read_config(out.absolute()), Console(stderr=True))
    if json:
        _print_json(as_json(outcome))
    else:
        _print_status(Console(), outcome.status)


@app.command
def status(out: Path, *, json: Json = False) -> None:
    """Show partitions by state and rows by outcome.

    Parameters
    ----------
    out
        Directory of the run.
    """
    from tasks.status import StatusReader

    found = StatusReader(out).read()
    if json:
        _print_json(found.to_json())
    else:
        _print_status(Console(), found)


def _print_status(console: Console, found: Any) -> None:
    figures = found.to_json()
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_row("Partitions", f"{found.partitions:,}")
    for state in ("published", "failed", "under_way", "waiting"):
        if count := figures["partitions"][state]:
            table.add_row(f"  {state.replace('_', ' ')}", f"{count:,}")
    table.add_row("Rows in", f"{found.rows_in:,}")
    table.add_row("  published", f"{found.rows_published:,}")
    table.add_row("  rejected", f"{found.rows_rejected:,}")
    for reason, rows in found.rejected_by_reason.items():
        table.add_row(f"    {reason}", f"{rows:,}")
    if found.rows_left:
        table.add_row("  not yet decided", f"{found.rows_left:,}")
    console.print(table)
    for partition, error in list(found.failed.items())[:10]:
        console.print(f"[red]failed[/red] {partition}: ", end="")
        console.print(error, markup=False, highlight=False)


@app.command
def report(out: Path) -> None:
    """Rebuild the report and the dataset card from the run's files.

    Parameters
    ----------
    out
        Directory of the run.
    """
    from tasks.plan import read_plan
    from tasks.report import build_report

    read_plan(out)
    Console().print(f"Report: {build_report(out)}")


@app.command
def caption(*images: Path, profile: str = "embedded", seed: int = 0, json: Json = False) -> None:
    """Caption image files: top caption, candidates and their similarities.

    Parameters
    ----------
    images
        Image files.
    profile
        Models and hyperparameters.
    seed
        Of the captioner's draws.
    """
    from flows.caption_files import caption_files
    from tasks.errors import UserError

    if not images:
        raise UserError("no image: cocoscribe caption IMAGE...")
    found = caption_files(images, profile, seed)
    if json:
        _print_json(found)
        return
    console = Console()
    for item in found:
        console.print(f"[bold]{item['image']}[/bold]: ", end="", highlight=False)
        console.print(item["top_caption"], markup=False, highlight=False)
        for text, similarity in zip(item["captions"], item["similarities"], strict=True):
            console.print(f"    {similarity:.3f}  ", end="", highlight=False)
            console.print(text, markup=False, highlight=False)


@app.command
def demo(
    *,
    out: Path = Path("demo-output"),
    rows: int | None = None,
    workers: int | None = None,
    json: Json = False,
) -> None:
    """Run the whole pipeline on bundled scenes served over HTTP on this machine, planted faults included.

    Parameters
    ----------
    out
        Directory of the run; an earlier demo's output there is replaced.
    rows
        Only the first rows of the demo's input.
    workers
        Worker processes.
    """
    from flows.demo.command import run_demo

    run_demo(out, rows, workers, json)


if __name__ == "__main__":
    main()
