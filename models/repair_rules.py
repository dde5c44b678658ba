"""Plain rules for a caption's grammar and punctuation: text in, text out, no model.

The rules are conservative: a right caption comes out as it went in, but for its capital, its final period
and its white space (`bare` gives the part of a caption that may not change). They run in the order of `RULES`,
and applying them twice equals applying them once. They know nothing of models or of the image.
"""

from __future__ import annotations

import re
from collections.abc import Callable


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# "a" or "an" goes by sound. Vowel letters that sound like a consonant ("a unicorn", "a one way sign") ...
_CONSONANT_SOUND = re.compile(
    r"(?:eu|ewe|one\b|once\b|one-|ouija|u\b|u-|ubiq|ufo|uk\b|ukul|un[ai]\b|unanim|uni(?:corn|cycl|f|lat|on|q|sex|son|t|v)|uran|ure|uri|urol|usa|use|usi|"
    r"usu|uten|uter|util|utop|uv\b)",
    re.IGNORECASE,
)
# ... consonant letters that are silent ("an hour", "an honest man") ...
_SILENT_H = re.compile(r"(?:hour|honest|honor|honour|heir)", re.IGNORECASE)
# ... words of which both are used ("an historic", "an herb"), which stay as they are.
_EITHER = re.compile(r"(?:hist|herb|homage|hotel|hors)", re.IGNORECASE)
_VOWEL_NUMBER = re.compile(r"(?:8\d*|11|18)(?![\d,])")

# A slip before one of these is not a matter of sound ("a pile a and").
_NO_NOUN_FOLLOWS = _words("a an and are as at in is of off on onto or over under")

# Repeated words that can be right: "turned on on a desk", "a very very big dog", "that that man holds".
_MAY_REPEAT = _words("very so really much that had bye knock choo coo no ha")
# A caption cut off at the length limit ends in one of these; no caption that ends on its own does.
_NEVER_LAST = _words("a an the and of or with while that's its their")
# These can end a caption ("a room with the lights on") unless the article that followed them was just cut.
_LAST_BEFORE_ARTICLE = _words("in on at to by for from near next under over into like as is are")
# A title of fewer words may be a name; small words get no capital within a sentence.
_MIN_TITLE_WORDS = 4
_SMALL = _words("a an the in on of with at to by for and is are next from near")
_OF_PLACE = _words("in on at of with under over above below near next behind beside against to from by")
_QUANTITY = (
    r"(?:\w+ )?(?:lot|few|couple|number|group|bunch|pair|variety|pile|set|row|series|collection|line|assortment|crowd"
    r"|dozen|herd|flock|plate|bowl|array|team|family|stack|bus|range|load|ton|row|handful|display|mix)"
)
_CLOSED = frozenset(".!?")
_SPECIAL_TOKEN = re.compile(
    r"\[(?:unk|sep|cls|pad|mask|unused\d+|enc|dec)\]|</?s>|<pad>|<unk>", re.IGNORECASE
)
_BLIP_OPENING = re.compile(
    r"(?:an? )?(?:ara+f+\w*|ar) (?:(?:image|photo|picture|view) of )?(?=[a-z])(?!(?:\w+ing|is|are|in|on|with) )",
    re.IGNORECASE,
)
_DETERMINER = re.compile(r"(?:an?|the|two|three|four|several|some) ", re.IGNORECASE)


def apply_rules(caption: str) -> str:
    """The caption after every rule; empty if nothing but white space and punctuation was in it."""
    text = caption
    for rule in RULES:
        text = rule(text)
    return text


def bare(caption: str) -> str:
    """The caption without what style alone decides: white space, first letter's case, final period.

    Two captions that are equal in this form count as the same caption: "unchanged" means this.
    """
    text = " ".join(caption.split()).rstrip()
    text = text[:-1].rstrip() if text.endswith(".") and not text.endswith("..") else text
    return text[:1].lower() + text[1:]


def article_for(word: str) -> str | None:
    """The article that a word takes, "a" or "an"; None where both are in use or the sound is unknown.

    Words all in capitals, most numbers and words that are no part of a noun phrase have no known article.
    """
    if len(word) < (1 if word.isdigit() else 2) or word.lower() in _NO_NOUN_FOLLOWS or _EITHER.match(word):
        return None
    if word[0].isdigit():
        return "an" if _VOWEL_NUMBER.match(word) else None
    if word.isupper() or word[1] == "-":
        return None
    if _SILENT_H.match(word):
        return "an"
    if word[0].lower() in "aeiou":
        return "a" if _CONSONANT_SOUND.match(word) else "an"
    return "a" if word[0].isalpha() else None


def _white_space(text: str) -> str:
    return " ".join(text.replace("’", "'").replace("‘", "'").replace("“", '"').replace("”", '"').split())


def _tokenizer_remains(text: str) -> str:
    """Special tokens and word-piece marks that a decoder left: "[UNK]", "[unused0]", "sk ##ate"."""
    return " ".join(re.sub(r" ?##(?=\w)", "", _SPECIAL_TOKEN.sub(" ", text)).split())


def _blip_remains(text: str) -> str:
    """BLIP large opens some captions with made-up words ("arafed", "araffe", "ar") where an article belongs."""
    match = _BLIP_OPENING.match(text)
    if not match:
        return text
    rest = text[match.end() :]
    return rest if _DETERMINER.match(rest) else "a " + rest


def _quotes(text: str) -> str:
    """Quotes around the whole caption go, and so does a double quote without a partner."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text[0] not in text[1:-1]:
        text = text[1:-1]
    if text.count('"') == 1:
        text = text.replace('"', "")
    return " ".join(text.split())


def _punctuation(text: str) -> str:
    """No space before a mark, one after it, no mark twice, none at the start."""
    text = re.sub(r"^[\s.,;:!?\-_/|*]+", "", text)
    text = re.sub(r"\s+(?=[,;:!?](?:\s|$|[,;:!?.]))", "", text)
    text = re.sub(r"\s+(?=\.(?:\s|$|[,;:!?.]))", "", text)
    text = re.sub(r",(?:\s*,)+", ",", text)
    # Nothing can part an article from what follows it.
    text = re.sub(r"\b(an?|the)(?: ?[,.;:])+ (?=[a-z])", r"\1 ", text, flags=re.IGNORECASE)
    text = re.sub(r"[,;:]+(?=[.!?])", "", text)
    text = re.sub(r"([.!?])[,;:]+", r"\1", text)
    text = re.sub(r"([!?])\1+", r"\1", text)
    text = re.sub(r"\.{2,}", ".", text)
    text = re.sub(r"(?<=[A-Za-z]),(?=[A-Za-z])", ", ", text)
    return re.sub(r"[\s,;:\-_/|*]+$", "", text)


def _repeated_words(text: str) -> str:
    """ "a dog dog on the the beach" -> "a dog on the beach"."""

    def once(match: re.Match[str]) -> str:
        word = match.group(1)
        before = text[: match.start()].lower()
        if word.lower() in _MAY_REPEAT or (word.lower() in {"on", "off"} and before.endswith("turned ")):
            return match.group(0)
        return word

    return re.sub(r"\b([A-Za-z']+)(?: \1\b)+(?!['-])", once, text, flags=re.IGNORECASE)


def _repeated_phrases(text: str) -> str:
    """ "on the beach on the beach" -> "on the beach"; of phrases of two to eight words, the longest first."""
    words = text.split(" ")
    keys = [re.sub(r"[^\w']", "", word).lower() for word in words]
    for length in range(min(8, len(words) // 2), 1, -1):
        start = 0
        while start + 2 * length <= len(words):
            second = start + length
            first = keys[start:second]
            if first == keys[second : second + length] and any(len(key) > 1 for key in first):
                # The second goes, but its punctuation (a final period) stays.
                words[start:second] = words[second : second + length]
                if start == 0:
                    words[0] = text[: len(words[0])]
                del words[second : second + length], keys[second : second + length]
            else:
                start += 1
    return " ".join(words)


def _repeated_after_and(text: str) -> str:
    """ "on the beach and on the beach" -> "on the beach"; "a dog and a dog" may be two dogs."""
    words = text.split(" ")
    keys = [re.sub(r"[^\w']", "", word).lower() for word in words]
    for length in range(min(8, (len(words) - 1) // 2), 1, -1):
        for start in range(len(words) - 2 * length):
            joint = start + length
            if (
                keys[start] in _OF_PLACE
                and keys[joint] == "and"
                and keys[start:joint] == keys[joint + 1 : joint + 1 + length]
            ):
                return " ".join(words[:start] + words[joint + 1 :])
    return text


def _cut_off(text: str) -> str:
    """A caption cut at the length limit loses the words that cannot end it: "a dog on a beach with a"."""
    if text[-1:] in _CLOSED:
        return text
    words = text.split(" ")
    article_cut = False
    while len(words) > 1:
        last = words[-1].lower()
        if last in _NEVER_LAST or (article_cut and last in _LAST_BEFORE_ARTICLE):
            article_cut = article_cut or last in {"a", "an", "the", "its", "their"}
            words.pop()
        else:
            break
    return " ".join(words).rstrip(",;: ")


def _case(text: str) -> str:
    """Words In Title Case and ALL IN CAPITALS go to lower case; names in a normal caption stay."""
    words = [word for word in text.split(" ") if word[:1].isalpha()]
    if len(words) < _MIN_TITLE_WORDS:
        return text
    raised = [word for word in words if word[0].isupper()]
    letters = [letter for letter in text if letter.isalpha()]
    if sum(letter.isupper() for letter in letters) > 0.8 * len(letters):
        return text.lower()
    # Names have capitals too ("Van Gogh Museum Bus"), but not their small words.
    if len(raised) < 0.75 * len(words) or not any(word.lower() in _SMALL for word in raised[1:]):
        return text
    return " ".join(word if len(word) > 1 and word.isupper() else word.lower() for word in text.split(" "))


def _articles(text: str) -> str:
    """ "a orange" -> "an orange", "an dog" -> "a dog"; all by sound."""

    def agree(match: re.Match[str]) -> str:
        article, gap, word = match.groups()
        right = article_for(word)
        if right is None or right == article.lower():
            return match.group(0)
        return (right.capitalize() if article[0].isupper() else right) + gap + word

    return re.sub(r"(?<![\w'.])([Aa]n?)( \"?)([\w'][\w'-]*)", agree, text)


def _there(text: str) -> str:
    """ "there is two dogs" -> "there are two dogs", "there are a dog" -> "there is a dog"."""
    text = re.sub(
        r"\b([Tt]here) is (?=(?:two|three|four|five|six|several|many) (?!way|door|story)\w)", r"\1 are ", text
    )
    # "There are a dog and a cat" and "there are a lot of dogs" are right.
    if re.search(r"\band\b|,", text):
        return text
    return re.sub(rf"\b([Tt]here) are (?=an? (?!{_QUANTITY})\w)", r"\1 is ", text)


def _pronoun(text: str) -> str:
    """ "i" is "I" where a verb follows; elsewhere it may be a slip for "in"."""
    return re.sub(r"(?<![\w.])i(?='m |'ve | (?:am|was|have|had|see|think|can|do|took|would) )", "I", text)


def _capital(text: str) -> str:
    match = re.match(r"[\"'(]*", text)
    start = match.end() if match else 0
    return text[:start] + text[start : start + 1].upper() + text[start + 1 :]


def _final_period(text: str) -> str:
    """One sentence mark at the end, before or after a closing quote as it stands."""
    if not text or text[-1] in _CLOSED or (text[-1] in "\"')" and text[-2:-1] in _CLOSED):
        return text
    return text + "."


RULES: tuple[Callable[[str], str], ...] = (
    _white_space,
    _tokenizer_remains,
    _blip_remains,
    _quotes,
    _punctuation,
    _repeated_words,
    _repeated_phrases,
    _repeated_after_and,
    _cut_off,
    _case,
    _articles,
    _there,
    _pronoun,
    _capital,
    _final_period,
)
