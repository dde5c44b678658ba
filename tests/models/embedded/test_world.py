"""The world: a seed has its scenes, layouts mean what they say, images show the truth."""

from __future__ import annotations

import numpy as np
import pytest

from models.embedded.world import (
    BACKGROUNDS,
    KINDS,
    OBJECTS,
    ROLES,
    FontMissing,
    Placed,
    Scene,
    alt_text,
    font_path,
    make_collage,
    make_scene,
    render,
    render_with_instances,
    scenes,
)

try:
    font_path()
    FONT_IS_MISSING = False
except FontMissing:
    FONT_IS_MISSING = True

needs_font = pytest.mark.skipif(FONT_IS_MISSING, reason="install Debian's fonts-noto-color-emoji")


def test_a_scene_depends_on_seed_and_index_alone() -> None:
    assert make_scene(3, 7) == make_scene(3, 7)
    assert scenes(3, 9)[7] == make_scene(3, 7)
    assert len({make_scene(3, 7), make_scene(3, 8), make_scene(4, 7)}) == 3


def test_every_kind_background_and_class_occurs() -> None:
    drawn = scenes(11, 3000)
    assert {scene.kind for scene in drawn} == set(KINDS)
    assert {scene.background for scene in drawn} == set(BACKGROUNDS)
    assert {name for scene in drawn for name in scene.names} == set(OBJECTS)
    assert {scene.count for scene in drawn} == {1, 2, 3, 4}
    assert {placed.role for scene in drawn for placed in scene.objects} == set(ROLES) - {"nothing"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_can_be_asked_for(kind: str) -> None:
    assert {make_scene(5, index, kind).kind for index in range(20)} == {kind}


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="single, next, above, front, list"):
        make_scene(0, 0, "sideways")


def test_objects_stand_as_their_roles_say() -> None:
    for index in range(200):
        left, right = make_scene(6, index, "next").objects
        top, bottom = make_scene(6, index, "above").objects
        listed = make_scene(6, index, "list").objects
        assert left.x + 0.2 < right.x
        assert top.y + 0.2 < bottom.y
        assert listed[0].x < listed[1].x < listed[2].x
        for placed in (left, right, top, bottom, *listed):
            assert 0 < placed.x < 1
            assert 0 < placed.y < 1


def test_a_collage_holds_four_to_nine_different_objects() -> None:
    counts = {len(make_collage(1, index).names) for index in range(200)}
    assert counts == set(range(4, 10))


def test_alt_texts_are_the_scenes_own_and_noisy() -> None:
    texts = [alt_text(scene) for scene in scenes(8, 200)]
    assert texts == [alt_text(scene) for scene in scenes(8, 200)]
    assert len(set(texts)) > 120
    assert any(".jpg" in text for text in texts)


def test_the_font_is_looked_for_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COCOSCRIBE_EMOJI_FONT", "/nowhere/NotoColorEmoji.ttf")
    with pytest.raises(FontMissing, match="fonts-noto-color-emoji"):
        font_path()


@needs_font
def test_the_same_scene_gives_the_same_pixels() -> None:
    scene = make_scene(2, 5)
    assert np.array_equal(np.asarray(render(scene, 64)), np.asarray(render(scene, 64)))
    assert render(scene, 80).size == (80, 80)
    assert render(scene).mode == "RGB"


@needs_font
def test_every_class_can_be_drawn_and_looks_different() -> None:
    pictures = set()
    for name in OBJECTS:
        placed = Placed(name, 0.5, 0.5, 0.9, False, "single of 1")
        scene = Scene(0, 0, "single", "white", (placed,), 0, 0.0, 0.0, 1.0, 95)
        image, instances = render_with_instances(scene, 32)
        assert (instances == 1).mean() > 0.05
        pictures.add(image.tobytes())
    assert len(pictures) == len(OBJECTS)


@needs_font
def test_instances_tell_which_object_a_pixel_shows() -> None:
    for index in range(30):
        scene = make_scene(9, index, "front")
        _, instances = render_with_instances(scene, 96)
        front, behind = scene.objects
        # What is in front hides what is behind, but not so much that it cannot be named.
        assert instances[min(95, round(front.y * 96)), min(95, round(front.x * 96))] in (0, 1)
        assert (instances == 2).sum() > 0.25 * (behind.scale * 96) ** 2 * 0.3
        assert set(np.unique(instances)) <= {0, 1, 2}


@needs_font
def test_instances_of_a_relation_lie_on_their_sides() -> None:
    scene: Scene = make_scene(9, 1, "next")
    _, instances = render_with_instances(scene, 96)
    columns = [np.nonzero(instances == number)[1].mean() for number in (1, 2)]
    assert columns[0] + 20 < columns[1]
