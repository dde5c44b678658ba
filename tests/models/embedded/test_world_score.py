"""Captions and their judge: every true caption is right, and each kind of mistake is found."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from models.embedded.world import (
    BACKGROUNDS,
    KINDS,
    OBJECTS,
    Placed,
    Scene,
    captions,
    make_scene,
    scenes,
    score,
)
from models.embedded.world.captions import noun_phrase, vocabulary


def scene_of(kind: str, background: str, *names: str) -> Scene:
    objects = tuple(Placed(name, 0.5, 0.5, 0.4, False, "nothing") for name in names)
    return Scene(0, 0, kind, background, objects, 0, 0.0, 0.0, 1.0, 90)


NEXT = scene_of("next", "beach", "dog", "couch")
ABOVE = scene_of("above", "night", "kite", "hot dog")
FRONT = scene_of("front", "blue", "orange", "teddy bear")
THREE = scene_of("single", "table", "apple", "apple", "apple")
LIST = scene_of("list", "snow", "dog", "cat", "pizza")


def test_every_caption_of_a_scene_is_true_of_it() -> None:
    for scene in scenes(21, 1000):
        for caption in captions(scene):
            assert score(caption, scene).full, (caption, scene)


def test_a_caption_is_false_of_a_scene_that_differs() -> None:
    drawn = scenes(22, 400)
    for scene, other in pairwise(drawn):
        if (scene.names, scene.count, scene.kind, scene.background) != (
            other.names,
            other.count,
            other.kind,
            other.background,
        ):
            assert not score(captions(other)[0], scene).full


@pytest.mark.parametrize(
    ("scene", "canonical"),
    [
        (NEXT, "a dog next to a couch on the beach"),
        (ABOVE, "a kite above a hot dog at night"),
        (FRONT, "an orange in front of a teddy bear on a blue background"),
        (THREE, "three apples on a table"),
        (LIST, "a dog, a cat and a pizza in the snow"),
    ],
)
def test_the_canonical_caption(scene: Scene, canonical: str) -> None:
    assert captions(scene)[0] == canonical
    assert score(canonical, scene).full
    assert score(canonical.capitalize() + ".", scene).full


@pytest.mark.parametrize(
    ("scene", "caption", "wrong"),
    [
        (NEXT, "a cat next to a couch on the beach", {"objects", "count"}),
        (NEXT, "a dog on the beach", {"objects", "count", "relation"}),
        (NEXT, "a dog and a couch on the beach", {"relation"}),
        (NEXT, "a dog behind a couch on the beach", {"relation"}),
        (NEXT, "a couch to the left of a dog on the beach", {"relation"}),
        (NEXT, "a couch to the left of a cat on the beach", {"objects", "count", "relation"}),
        (NEXT, "a dog next to a couch in the snow", {"background"}),
        (NEXT, "a dog next to a couch", {"background"}),
        (NEXT, "a dog next to two couches on the beach", {"count"}),
        (NEXT, "a dog next to a couch and a bear on the beach", {"objects", "count"}),
        (ABOVE, "a hot dog above a kite at night", {"relation"}),
        (ABOVE, "a kite under a hot dog at night", {"relation"}),
        (ABOVE, "a kite above a dog at night", {"objects", "count"}),
        (FRONT, "an orange behind a teddy bear on a blue background", {"relation"}),
        (FRONT, "an orange in front of a bear on a blue background", {"objects", "count"}),
        (FRONT, "an orange in front of a teddy bear on a green background", {"background"}),
        (THREE, "two apples on a table", {"count"}),
        (THREE, "an apple on a table", {"count"}),
        (THREE, "three oranges on a table", {"objects", "count"}),
        (LIST, "a dog, a cat and a cake in the snow", {"objects", "count"}),
        (LIST, "a dog and a cat in the snow", {"objects", "count"}),
        (LIST, "a dog next to a cat and a pizza in the snow", {"relation"}),
        (LIST, "", {"objects", "count", "background"}),
    ],
)
def test_each_mistake_is_found(scene: Scene, caption: str, wrong: set[str]) -> None:
    judged = score(caption, scene)
    found = {part for part in ("objects", "count", "relation", "background") if not getattr(judged, part)}
    assert found == wrong
    assert not judged.full


@pytest.mark.parametrize(
    ("scene", "caption"),
    [
        (NEXT, "A sofa beside a dog at the beach!"),
        (NEXT, "The dog is to the left of the sofa, on a sandy beach."),
        (ABOVE, "a hot dog underneath a kite under the night sky"),
        (FRONT, "A teddy bear behind an orange, in front of a blue wall"),
        (THREE, "There are 3 apples on top of a wooden table"),
        (LIST, "a pizza, a dog, and a cat in a snowy field"),
    ],
)
def test_other_phrasings_are_understood(scene: Scene, caption: str) -> None:
    assert score(caption, scene).full


@pytest.mark.parametrize("kind", KINDS)
def test_captions_are_distinct_and_lower_case(kind: str) -> None:
    for index in range(50):
        written = captions(make_scene(23, index, kind))
        assert len(set(written)) == len(written) >= 6
        assert all(caption == caption.lower() and not caption.endswith(".") for caption in written)


def test_nouns_take_their_article_and_plural() -> None:
    assert noun_phrase("umbrella") == "an umbrella"
    assert noun_phrase("knife", 3) == "three knives"
    assert noun_phrase("pair of scissors", 2) == "two pairs of scissors"


def test_the_vocabulary_holds_every_word_of_every_caption() -> None:
    words = set(vocabulary())
    used = {
        word for scene in scenes(24, 1000) for text in captions(scene) for word in re.findall(r"\w+|,", text)
    }
    assert used <= words
    assert len(words) < 284


def test_no_background_word_names_an_object() -> None:
    nouns = {noun for known in OBJECTS.values() for noun in (known.name, known.plural, *known.synonyms)}
    assert not nouns & {word for background in BACKGROUNDS.values() for word in background.words}
