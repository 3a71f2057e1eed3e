"""languages: codes of languages, the scripts they are written in, and how they are counted."""

from __future__ import annotations

import re

from shoestring.core.errors import UserError

# ISO 639-1, and codes of three letters where there is none of two.
_CODES = """
aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv
dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie
ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv
mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm
rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr
ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
ace ast awa ban bar bem bho brx ceb chr ckb crh cop csb dsb din doi dyu fil fon frp fur gag gom grc
gsw hak haw hil hmn hne hsb ilo inh kab kac kam kbp khm krc kea kmb kmr ksh ltg lus lzh mag mai min
mni mos nan nds new nso nus pag pap pcm pdc rom rue sah sat scn sco shi shn smn sms stq szl tok tpi
tyv udm umb vec vro war wuu yue zgh
mul zxx und
""".split()
_KNOWN = frozenset(_CODES)
# Three letters for what has two (ISO 639-2), of languages that are often met.
_SHORTER = {
    "ara": "ar", "bul": "bg", "cat": "ca", "ces": "cs", "cze": "cs", "chi": "zh", "zho": "zh",
    "cmn": "zh", "dan": "da", "deu": "de", "ger": "de", "dut": "nl", "nld": "nl", "ell": "el",
    "gre": "el", "eng": "en", "est": "et", "fas": "fa", "per": "fa", "fin": "fi", "fra": "fr",
    "fre": "fr", "heb": "he", "hin": "hi", "hrv": "hr", "hun": "hu", "ice": "is", "isl": "is",
    "ind": "id", "ita": "it", "jpn": "ja", "kor": "ko", "lav": "lv", "lit": "lt", "may": "ms",
    "msa": "ms", "nob": "nb", "nor": "no", "pol": "pl", "por": "pt", "ron": "ro", "rum": "ro",
    "rus": "ru", "slk": "sk", "slo": "sk", "slv": "sl", "spa": "es", "srp": "sr", "swe": "sv",
    "tha": "th", "tur": "tr", "ukr": "uk", "urd": "ur", "vie": "vi", "iw": "he", "in": "id",
}  # fmt: skip
# A country's code, or a word, in the place of a language's.
_MISTAKEN = {
    "jp": "ja", "cn": "zh", "kp": "ko", "cz": "cs", "dk": "da", "gr": "el", "ua": "uk",
    "us": "en", "gb": "en", "at": "de", "vn": "vi", "english": "en", "german": "de",
    "deutsch": "de", "french": "fr", "spanish": "es", "chinese": "zh", "japanese": "ja",
}  # fmt: skip
_PATTERN = re.compile(r"([a-z]{2,3})((?:[-_][a-z0-9]{2,8})*)", re.IGNORECASE)

# Written without spaces between words: lengths are counted in characters.
WITHOUT_SPACES = frozenset("zh ja th lo km my bo dz yue wuu lzh hak nan".split())

_SCRIPTS = {
    "Arab": "ar fa ur ps sd ug ckb ks",
    "Armn": "hy",
    "Beng": "bn as",
    "Cyrl": "ru uk be bg mk kk ky mn tg tt ba cv os ce ab av kv udm sah tyv inh krc rue cu",
    "Deva": "hi mr ne sa mai bho awa doi brx gom mag hne new pi",
    "Ethi": "am ti",
    "Geor": "ka",
    "Grek": "el grc",
    "Gujr": "gu",
    "Hani": "zh yue wuu lzh hak nan",
    "Hebr": "he yi",
    "Jpan": "ja",
    "Khmr": "km",
    "Knda": "kn",
    "Kore": "ko",
    "Laoo": "lo",
    "Mlym": "ml",
    "Mymr": "my",
    "Orya": "or",
    "Sinh": "si",
    "Taml": "ta",
    "Telu": "te",
    "Thai": "th",
    "Tibt": "bo dz",
}
_SCRIPT = {code: script for script, codes in _SCRIPTS.items() for code in codes.split()}
# More than one script, or no language at all: nothing is expected of these.
_ANY_SCRIPT = frozenset(
    "mul zxx und sr sh bs az uz tk ku kmr pa kab shi zgh iu cr chr mni sat ha ff wo ms "
    "dv ii oj cop rom crh gag lus shn nus kr jv su ban min ace".split()
)


def language(word: str, where: str = "") -> str:
    """`de`, `pt-BR`, `zh-Hans` in their usual writing. Raises UserError for an unknown one."""
    found = known(word)
    if found is not None:
        return found
    lower = word.lower()
    meant = f"; {_MISTAKEN[lower]!r} is meant?" if lower in _MISTAKEN else "."
    raise UserError(
        f"{where and where + ': '}unknown language code {word!r}{meant} A code has two or three "
        f"letters (ISO 639), perhaps with a region or script: en, de, pt-BR, zh-Hans"
    )


def known(word: str) -> str | None:
    """As `language`; None where the word is no code of a language."""
    match = _PATTERN.fullmatch(word.strip())
    if match is None:
        return None
    first = _SHORTER.get(match[1].lower(), match[1].lower())
    if first not in _KNOWN:
        return None
    rest = re.split("[-_]", match[2])[1:]
    tags = [{2: tag.upper(), 4: tag.title()}.get(len(tag), tag.lower()) for tag in rest]
    return "-".join([first, *tags])


def primary(code: str) -> str:
    """`pt` of `pt-BR`."""
    return code.partition("-")[0]


def matches(code: str, wanted: str) -> bool:
    """Whether text of the language `code` serves where `wanted` is asked for: `pt-BR` for `pt`."""
    return code == wanted or primary(code) == wanted or code == primary(wanted)


def has_spaces(code: str) -> bool:
    return primary(code) not in WITHOUT_SPACES


def is_language(code: str) -> bool:
    """Whether this is one known language, not several or none."""
    return primary(code) not in ("mul", "zxx", "und")


def script(code: str) -> str | None:
    """The script that a language is written in, as ISO 15924 names it; None where it has several
    or none is expected."""
    for tag in code.split("-")[1:]:
        if len(tag) == 4 and tag.isalpha():
            return {"Hans": "Hani", "Hant": "Hani"}.get(tag, tag)
    first = primary(code)
    return None if first in _ANY_SCRIPT else _SCRIPT.get(first, "Latn")


def bleu_tokenizer(code: str) -> str:
    """How sacreBLEU is to cut a hypothesis and a reference of this language into words."""
    first = primary(code)
    if first in ("zh", "yue", "wuu", "lzh", "hak", "nan"):
        return "zh"
    if first == "ja":
        return "ja-mecab"
    return "char" if first in WITHOUT_SPACES else "13a"
