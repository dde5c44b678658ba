"""The captioner's own mistakes as hard negatives for the rankers.

    python -m models.embedded.train.ranker_mining --captioner DIR --scenes 1500 --out mined.json

Changing one thing of a scene gives wrong captions that are well formed. A tiny captioner also says "a cup a cup" and
"under above": a ranker that never saw such text likes it. So candidates are drawn as the pipeline draws them, for
training scenes, and what is no caption of the scene is kept.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import torch

from models.captioner import Captioner
from models.embedded.train.ranker_batches import KIND_SHARES, Mined
from models.embedded.world import captions, make_scene, render
from models.profiles import get_profile
from models.sampling import Sampling

# Training scenes that no batch draws: batches use the small seeds that --seed names.
MINING_SEED = 700_000
RENDER_SIZE = 192
_CHUNK = 50


def mine(captioner: Captioner, sampling: Sampling, number: int) -> list[Mined]:
    """Wrong candidates of ``number`` scenes; scenes with none are left out."""
    kinds = random.Random("mining").choices(tuple(KIND_SHARES), tuple(KIND_SHARES.values()), k=number)
    scenes = [make_scene(MINING_SEED, index, kind) for index, kind in enumerate(kinds)]
    mined = []
    for start in range(0, number, _CHUNK):
        part = scenes[start : start + _CHUNK]
        images = [render(scene, RENDER_SIZE) for scene in part]
        found = captioner.caption(images, [f"{scene.seed}-{scene.index}" for scene in part], sampling)
        for scene, candidates in zip(part, found, strict=True):
            true = {_words(text) for text in captions(scene)}
            wrong = tuple(one.text for one in candidates if _words(one.text) not in true)
            if wrong:
                mined.append(Mined(scene, wrong))
    return mined


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def save_mined(mined: list[Mined], path: Path) -> None:
    rows = [{"index": one.scene.index, "kind": one.scene.kind, "wrong": one.wrong} for one in mined]
    path.write_text(json.dumps(rows) + "\n")


def load_mined(path: Path) -> list[Mined]:
    """What :func:`save_mined` wrote."""
    rows = json.loads(path.read_text())
    return [Mined(make_scene(MINING_SEED, row["index"], row["kind"]), tuple(row["wrong"])) for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description="Collect a captioner's wrong candidates of training scenes.")
    parser.add_argument("--captioner", required=True, help="directory of the trained captioner")
    parser.add_argument("--scenes", type=int, default=1500)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    mined = mine(Captioner.load(arguments.captioner), get_profile("embedded").sampling, arguments.scenes)
    save_mined(mined, arguments.out)
    print(f"{len(mined)} scenes, {sum(len(one.wrong) for one in mined)} wrong captions")


if __name__ == "__main__":
    main()
