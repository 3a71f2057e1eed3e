"""special: the pieces that stand first in every vocabulary, by number."""

from __future__ import annotations

PAD, UNK, BOS, EOS = range(4)  # padding, what has no piece, begin and end of a sentence
FIRST_BYTE = EOS + 1  # the piece of byte 0; those of the others follow it
FIRST_LEARNED = FIRST_BYTE + 256  # behind the bytes
