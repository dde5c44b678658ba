from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from flows.demo.bundle import PLAIN_SCENES, SIZE_PIXELS, bundled_scenes, folder, jpeg_of
from flows.demo.faults import healthy
from flows.demo.scenes import EASY_SCENES, build_bundle
from models.embedded import world


def test_bundle_is_whole_small_and_of_its_size():
    scenes = bundled_scenes()
    assert len(scenes) == PLAIN_SCENES + EASY_SCENES
    assert len(healthy()) <= EASY_SCENES
    assert PLAIN_SCENES >= 200
    contents = [jpeg_of(scene) for scene in scenes]
    assert sum(map(len, contents)) < 1_700_000
    for content in contents[::16]:
        image = Image.open(io.BytesIO(content))
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (SIZE_PIXELS, SIZE_PIXELS))
    shipped = {entry.name for entry in folder().iterdir()}
    assert shipped == {scene.file for scene in scenes} | {"scenes.jsonl"}


def test_bundle_belongs_to_this_version_of_the_world():
    for bundled in bundled_scenes():
        assert bundled.seed == world.DEMO_SEED
        scene = world.make_scene(bundled.seed, bundled.index, bundled.kind)
        remake = "the world has changed: run 'python -m flows.demo.scenes'"
        assert world.captions(scene)[0] == bundled.caption, remake
        assert world.alt_text(scene) == bundled.alt_text, remake


def test_remade_scenes_are_the_shipped_ones(tmp_path: Path):
    try:
        world.font_path()
    except world.FontMissing as reason:
        pytest.skip(str(reason))
    (tmp_path / "99999.jpg").write_bytes(b"left by a larger bundle")
    size = build_bundle(tmp_path, plain=3, easy=0)
    assert size == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "00000.jpg",
        "00001.jpg",
        "00002.jpg",
        "scenes.jsonl",
    ]
    for scene in bundled_scenes()[:3]:
        remade, shipped = Image.open(tmp_path / scene.file), Image.open(io.BytesIO(jpeg_of(scene)))
        # Another Pillow or font release may differ a little.
        assert max(ImageStat.Stat(ImageChops.difference(remade, shipped)).mean) < 4
