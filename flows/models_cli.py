"""``cocoscribe models``: what the profiles use, fetching it, and training the shipped family."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

models_app = App(name="models", help="The models of the profiles: list, fetch, train, check.")

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object as the last line.")]
TrainedModel = Literal["captioner", "ranker1", "ranker2", "repairer"]


@models_app.command(name="list")
def list_models(*, json: Json = False) -> None:
    """Show each profile's models and hyperparameters."""
    from models.profiles import PROFILES

    if json:
        print(jsonlib.dumps({name: asdict(profile) for name, profile in PROFILES.items()}))
        return
    console = Console()
    for profile in PROFILES.values():
        console.print(f"[bold]{profile.name}[/bold]  {profile.description}", highlight=False)
        table = Table(box=None, show_header=False, padding=(0, 2))
        table.add_row("captioner", profile.captioner.source)
        table.add_row("ranker 1", f"{profile.ranker1.name} {profile.ranker1.pretrained}")
        if profile.ranker2:
            table.add_row("ranker 2", f"{profile.ranker2.name} {profile.ranker2.pretrained}")
        table.add_row("repairer", profile.repairer.source)
        console.print(table)


@models_app.command
def fetch(profile: str) -> None:
    """Download a profile's models into the hub's cache, for machines without network later.

    Parameters
    ----------
    profile
        Name of a profile.
    """
    from models.loading import fetch_profile
    from models.profiles import get_profile

    for name in fetch_profile(get_profile(profile)) or ["nothing to fetch: its models are directories"]:
        Console().print(name, highlight=False)


@models_app.command
def train(
    model: TrainedModel,
    *,
    minutes: float,
    out: Path | None = None,
    resume: bool = False,
    seed: int = 0,
    reference: Path | None = None,
) -> None:
    """Train one model of the embedded family on scenes that are rendered as it goes.

    Needs the font Noto Color Emoji (Debian: fonts-noto-color-emoji). Model, checkpoint and learning curve are left
    in --out; the model card (models/embedded/README.md) has the commands and seeds of the shipped ones.

    Parameters
    ----------
    model
        Which one.
    minutes
        CPU-minutes of one thread; a resumed run's earlier ones included.
    out
        Directory for the model (trained/MODEL).
    resume
        Go on from the checkpoint in --out; more minutes than before stretch the schedule.
    seed
        Of weights and scenes.
    reference
        COCO captions file (captions_val2017.json), for the repairer only.
    """
    import torch

    from tasks.errors import UserError

    target = out or Path("trained") / model
    torch.set_num_threads(1)
    if model == "repairer":
        from models.embedded.train.repairer import train_repairer

        if reference is None:
            raise UserError("the repairer learns from COCO captions: --reference captions_val2017.json")
        try:
            train_repairer(target, minutes, reference, resume=resume, seed=seed)
        except (ValueError, OSError) as reason:
            raise UserError(str(reason)) from None
    else:
        _need_font()
        if model == "captioner":
            from models.embedded.train.captioner import train_captioner

            train_captioner(target, minutes, resume, seed)
        else:
            from models.embedded.train.ranker import Training

            training = Training(model, target, minutes, resume=resume, seed=seed)
            training.run()
            training.save()
            training.curve.add(**training.try_out().figures())
    Console().print(f"{model}: trained into {target}")


@models_app.command
def check(*, device: str | None = None, dtype: str | None = None, json: Json = False) -> None:
    """Compare the embedded captioner and ranker on a device with the CPU in float32, and time both.

    Without --dtype: float32, which must equal the CPU's (exit code 1 where it does not), then the device's other
    precision (float16 on a GPU, int8 on a CPU), which only reports. Not run on CUDA by its makers yet.

    Parameters
    ----------
    device
        For example cuda; the default is a GPU where there is one.
    dtype
        float32, float16, bfloat16 or int8 (CPU only).
    """
    from models.check import check_device
    from models.device import pick_device

    chosen = device or pick_device()
    dtypes = (dtype,) if dtype else ("float32", "int8" if chosen == "cpu" else "float16")
    found = [check_device(chosen, each) for each in dtypes]
    if json:
        print(jsonlib.dumps([asdict(each) for each in found]))
    else:
        table = Table(
            "device", "dtype", "equal candidates", "equal top", "logit error", "images/s", "CPU images/s", ""
        )
        for each in found:
            table.add_row(
                each.device,
                each.dtype,
                f"{each.equal_candidates:.1%}",
                f"{each.equal_top:.1%}",
                f"{each.logit_error:.1e}",
                f"{each.images_per_second:.1f}",
                f"{each.cpu_images_per_second:.1f}",
                "ok" if each.passed else "differs",
            )
        Console().print(table)
    if not all(each.passed for each in found):
        raise SystemExit(1)


def _need_font() -> None:
    from models.embedded.world import FontMissing, font_path
    from tasks.errors import UserError

    try:
        font_path()
    except FontMissing as reason:
        raise UserError(str(reason)) from None
