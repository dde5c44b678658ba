"""COCO in emoji: a visual world whose truth is known, so that captions can be judged.

`make_scene` draws a scene, `render` paints it, `captions` says what is true of it, `alt_text` what a web page
would say, and `score` judges any caption. Scene seeds below 1,000,000 are for training, 1,000,000 is held out
for evaluation, 2,000,000 is the demo's.
"""

from models.embedded.world.backgrounds import BACKGROUNDS
from models.embedded.world.captions import alt_text, captions, noun_phrase, vocabulary
from models.embedded.world.objects import OBJECTS
from models.embedded.world.render import FontMissing, font_path, render, render_with_instances
from models.embedded.world.scene import (
    DEMO_SEED,
    HELD_OUT_SEED,
    KINDS,
    ROLES,
    Placed,
    Scene,
    make_collage,
    make_scene,
    scenes,
)
from models.embedded.world.score import Score, score

__all__ = [
    "BACKGROUNDS",
    "DEMO_SEED",
    "HELD_OUT_SEED",
    "KINDS",
    "OBJECTS",
    "ROLES",
    "FontMissing",
    "Placed",
    "Scene",
    "Score",
    "alt_text",
    "captions",
    "font_path",
    "make_collage",
    "make_scene",
    "noun_phrase",
    "render",
    "render_with_instances",
    "scenes",
    "score",
    "vocabulary",
]
