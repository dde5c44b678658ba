"""What people would write about a scene: COCO-style captions, and the noisy alt-text of a web page.

Knows words; knows nothing of pixels.
"""

from __future__ import annotations

import random
import re

from models.embedded.world.backgrounds import BACKGROUNDS
from models.embedded.world.objects import OBJECTS
from models.embedded.world.scene import Scene

NUMBERS: tuple[str, ...] = ("zero", "one", "two", "three", "four")

_FORMS: dict[str, tuple[str, ...]] = {
    "next": (
        "{a} next to {b}",
        "{b} next to {a}",
        "{a} beside {b}",
        "{a} to the left of {b}",
        "{b} to the right of {a}",
    ),
    "above": ("{a} above {b}", "{b} below {a}", "{b} under {a}", "{a} over {b}"),
    "front": ("{a} in front of {b}", "{b} behind {a}"),
    "list": ("{a}, {b} and {c}", "{a}, {b}, and {c}", "{c}, {b} and {a}"),
}
"""By kind of scene; the first is canonical."""


def noun_phrase(name: str, count: int = 1) -> str:
    """ "a dog", "an apple", "three dogs"."""
    known = OBJECTS[name]
    return f"{known.article} {known.name}" if count == 1 else f"{NUMBERS[count]} {known.plural}"


def captions(scene: Scene) -> list[str]:
    """True captions, lower case, no final period, without repetition; the first is canonical."""
    phrases = BACKGROUNDS[scene.background].phrases
    if scene.kind == "single":
        subject = noun_phrase(scene.names[0], scene.count)
        bodies = [subject]
        if scene.count == 1:
            bodies += [f"there is {subject}", f"a close up of {subject}"]
        else:
            known = OBJECTS[scene.names[0]]
            bodies += [f"there are {subject}", f"a group of {NUMBERS[scene.count]} {known.plural}"]
    else:
        words = dict(zip("abc", (noun_phrase(name) for name in scene.names), strict=False))
        bodies = [form.format(**words) for form in _FORMS[scene.kind]]
    return list(dict.fromkeys(f"{body} {phrase}" for phrase in phrases for body in bodies))


def vocabulary() -> list[str]:
    """Every word and punctuation mark that a caption can hold, with the prompt's, sorted."""
    texts = [
        "a picture of",
        "there is there are",
        "a close up of",
        "a group of",
        "an",
        ",",
        ".",
        *NUMBERS[1:],
    ]
    texts += [phrase for background in BACKGROUNDS.values() for phrase in background.phrases]
    texts += [form.format(a="", b="", c="") for forms in _FORMS.values() for form in forms]
    texts += [f"{known.name} {known.plural}" for known in OBJECTS.values()]
    return sorted({word for text in texts for word in re.findall(r"\w+|[,.]", text)})


_ALT_TEXTS = (
    "IMG_{number}.jpg",
    "IMG_{number}.jpg {names} {place} SALE",
    "{title} {place} - stock photo",
    "{title} | Free Shipping",
    "{title}, {place}, royalty free image #{number}",
    "DSC{number} {names}",
    "Buy {title} online - best prices {year}",
    "{names} {names} wallpaper hd {number}x1080",
    "My trip {year}: {title}",
    "{title} vector clipart {place}",
    "photo",
    "click to enlarge {title}",
)


def alt_text(scene: Scene) -> str:
    """What the web page says instead of a caption: file names, shop talk, half of the truth; one a scene."""
    rng = random.Random(f"alt {scene.seed} {scene.index}")
    names = list(scene.names)
    rng.shuffle(names)
    return rng.choice(_ALT_TEXTS).format(
        number=rng.randint(1000, 9999),
        year=rng.randint(2008, 2021),
        names=" ".join(names),
        title=" and ".join(name.capitalize() for name in names[: rng.randint(1, 3)]),
        place=scene.background,
    )
