"""Make the demo's bundle from the embedded world: ``python -m flows.demo.scenes [DIR]``.

Deterministic for one version of the world and of Pillow's JPEG encoder. Needs the Debian package
fonts-noto-color-emoji; the demo itself does not, since the bundle is shipped.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

from flows.demo.bundle import PLAIN_SCENES, SIZE_PIXELS
from models.embedded import world
from tasks.durable import write_atomically

EASY_SCENES = 16
"""For the odd images: a single kind of object, so that what befalls them is their file's doing, not the models'."""
QUALITY = 85
"""What the web commonly serves, and two thirds of the bytes of 90 on these noisy pictures."""


def build_bundle(target: Path, plain: int = PLAIN_SCENES, easy: int = EASY_SCENES) -> int:
    """Write the scenes' JPEG files and ``scenes.jsonl`` to ``target``, remove other JPEGs. Returns bytes in all."""
    records, total = [], 0
    wanted = set()
    for index in range(plain + easy):
        kind = "single" if index >= plain else None
        scene = world.make_scene(world.DEMO_SEED, index, kind)
        encoded = io.BytesIO()
        world.render(scene, SIZE_PIXELS).save(encoded, "JPEG", quality=QUALITY, optimize=True)
        name = f"{index:05d}.jpg"
        wanted.add(name)
        write_atomically(target / name, encoded.getvalue())
        total += len(encoded.getvalue())
        records.append(
            {
                "file": name,
                "seed": world.DEMO_SEED,
                "index": index,
                "kind": kind,
                "alt_text": world.alt_text(scene),
                "caption": world.captions(scene)[0],
            }
        )
    for stale in target.glob("*.jpg"):
        if stale.name not in wanted:
            stale.unlink()
    listing = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
    write_atomically(target / "scenes.jsonl", listing)
    return total + len(listing)


def main(arguments: list[str]) -> None:
    shipped = Path(world.__file__).parent.parent / "data" / "demo"
    target = Path(arguments[0]) if arguments else shipped
    size = build_bundle(target)
    print(f"{PLAIN_SCENES + EASY_SCENES} scenes, {size / 1e6:.2f} MB, in {target}")


if __name__ == "__main__":
    main(sys.argv[1:])
