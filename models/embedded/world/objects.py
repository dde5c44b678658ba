"""The object classes of the world: MS COCO classes that Noto Color Emoji draws, with their names in captions.

Knows words and code points; knows nothing of pixels or layouts.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ObjectClass:
    """One class: its noun, the plural, the emoji that draws it, and other nouns a caption may use for it."""

    name: str
    plural: str
    emoji: str
    synonyms: tuple[str, ...] = ()

    @property
    def article(self) -> str:
        return "an" if self.name[0] in "aeiou" else "a"


def _classes() -> dict[str, ObjectClass]:
    rows: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
        ("man", "men", "👨", ("guy", "guys")),
        ("woman", "women", "👩", ("lady", "ladies")),
        ("bicycle", "bicycles", "🚲", ("bike", "bikes")),
        ("car", "cars", "🚗", ()),
        ("motorcycle", "motorcycles", "🏍", ("motorbike", "motorbikes")),
        ("airplane", "airplanes", "✈", ("plane", "planes")),
        ("bus", "buses", "🚌", ()),
        ("train", "trains", "🚂", ()),
        ("truck", "trucks", "🚚", ()),
        ("boat", "boats", "⛵", ("sailboat", "sailboats")),
        ("traffic light", "traffic lights", "🚦", ()),
        ("stop sign", "stop signs", "🛑", ()),
        ("bird", "birds", "🐦", ()),
        ("cat", "cats", "🐈", ()),
        ("dog", "dogs", "🐕", ()),
        ("horse", "horses", "🐎", ()),
        ("sheep", "sheep", "🐑", ()),
        ("cow", "cows", "🐄", ()),
        ("elephant", "elephants", "🐘", ()),
        ("bear", "bears", "🐻", ()),
        ("zebra", "zebras", "🦓", ()),
        ("giraffe", "giraffes", "🦒", ()),
        ("backpack", "backpacks", "🎒", ()),
        ("umbrella", "umbrellas", "☂", ()),
        ("handbag", "handbags", "👜", ("purse", "purses")),
        ("tie", "ties", "👔", ("necktie", "neckties")),
        ("suitcase", "suitcases", "🧳", ()),
        ("frisbee", "frisbees", "🥏", ()),
        ("pair of skis", "pairs of skis", "🎿", ("skis",)),
        ("snowboard", "snowboards", "🏂", ()),
        ("soccer ball", "soccer balls", "⚽", ("ball", "balls")),
        ("kite", "kites", "🪁", ()),
        ("skateboard", "skateboards", "🛹", ()),
        ("surfboard", "surfboards", "🏄", ()),
        ("tennis racket", "tennis rackets", "🎾", ()),
        ("bottle", "bottles", "🍾", ()),
        ("wine glass", "wine glasses", "🍷", ("glass of wine", "glasses of wine")),
        ("cup", "cups", "☕", ("cup of coffee", "cups of coffee")),
        ("fork", "forks", "🍴", ()),
        ("knife", "knives", "🔪", ()),
        ("spoon", "spoons", "🥄", ()),
        ("bowl", "bowls", "🥣", ()),
        ("banana", "bananas", "🍌", ()),
        ("apple", "apples", "🍎", ()),
        ("sandwich", "sandwiches", "🥪", ()),
        ("orange", "oranges", "🍊", ()),
        ("broccoli", "broccolis", "🥦", ()),
        ("carrot", "carrots", "🥕", ()),
        ("hot dog", "hot dogs", "🌭", ()),
        ("pizza", "pizzas", "🍕", ()),
        ("donut", "donuts", "🍩", ("doughnut", "doughnuts")),
        ("cake", "cakes", "🎂", ()),
        ("chair", "chairs", "🪑", ()),
        ("couch", "couches", "🛋", ("sofa", "sofas")),
        ("potted plant", "potted plants", "🪴", ("plant", "plants")),
        ("bed", "beds", "🛏", ()),
        ("toilet", "toilets", "🚽", ()),
        ("television", "televisions", "📺", ("tv", "tvs")),
        ("laptop", "laptops", "💻", ()),
        ("mouse", "mice", "🖱", ()),
        ("keyboard", "keyboards", "⌨", ()),
        ("cell phone", "cell phones", "📱", ("phone", "phones")),
        ("book", "books", "📖", ()),
        ("clock", "clocks", "⏰", ()),
        ("vase", "vases", "🏺", ()),
        ("pair of scissors", "pairs of scissors", "✂", ("scissors",)),
        ("teddy bear", "teddy bears", "🧸", ()),
        ("toothbrush", "toothbrushes", "🪥", ()),
    )
    return {name: ObjectClass(name, plural, emoji, synonyms) for name, plural, emoji, synonyms in rows}


OBJECTS: dict[str, ObjectClass] = _classes()
"""Every class by name, in a fixed order (the order numbers the classes of the dense targets)."""
