"""pretrained: translators from elsewhere: what they are called, and the network that takes their
weights. No torch."""

from __future__ import annotations

from shoestring.core.errors import UserError
from shoestring.core.receipt import Plain
from shoestring.tasks.translation import marian

STARTS = ("hf:ORGANISATION/NAME", "hf:FOLDER")


def pretrained(words: str) -> Plain:
    """The network whose weights these words name."""
    if words.startswith("hf:"):
        return marian.options(marian.folder(words))
    raise UserError(
        f"there is no run or bundle {words!r}, and there are no weights of that name; name a "
        f"folder, or {' or '.join(STARTS)}"
    )
