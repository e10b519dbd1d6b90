"""A keyed permutation of small numbers, so that ids made from ordinals reveal neither their order nor each other."""

import hashlib
import sys
from array import array

ORDINAL_BITS = 19
ORDINAL_MAX = (1 << ORDINAL_BITS) - 1
_LOW_BITS = ORDINAL_BITS // 2
_HIGH_BITS = ORDINAL_BITS - _LOW_BITS
# Luby and Rackoff: four rounds of a Feistel network with pseudorandom functions are a strong pseudorandom permutation.
_ROUND_PAIRS = 2
_ENTRIES = _ROUND_PAIRS * ((1 << _LOW_BITS) + (1 << _HIGH_BITS))


class OrdinalPermutation:
    """A bijection of 1 … ``ORDINAL_MAX`` onto itself, fixed by its key.

    An unbalanced Feistel network of 19 bits. Its round functions are tables of SHAKE-256's output for the key (6 KB):
    a lookup costs less than a hash. Zero is left out by walking the cycle: an image of 0 is permuted once more.
    """

    __slots__ = ("_tables",)

    def __init__(self, key: bytes) -> None:
        entries = array("H")
        entries.frombytes(hashlib.shake_256(b"ordinal permutation" + key).digest(2 * _ENTRIES))
        if sys.byteorder == "big":
            entries.byteswap()
        self._tables: list[tuple[array[int], array[int]]] = []
        for _ in range(_ROUND_PAIRS):
            low_table, entries = entries[: 1 << _LOW_BITS], entries[1 << _LOW_BITS :]
            high_table, entries = entries[: 1 << _HIGH_BITS], entries[1 << _HIGH_BITS :]
            self._tables.append((low_table, high_table))

    def permute(self, ordinal: int) -> int:
        """Return the number that stands for an ordinal; an ordinal out of range is returned as it is."""
        if not 0 < ordinal <= ORDINAL_MAX:
            return ordinal
        return self._encrypt(ordinal) or self._encrypt(0)

    def invert(self, number: int) -> int:
        """Return the ordinal that a number stands for."""
        if not 0 < number <= ORDINAL_MAX:
            return number
        return self._decrypt(number) or self._decrypt(0)

    def _encrypt(self, value: int) -> int:
        high, low = value >> _LOW_BITS, value & ((1 << _LOW_BITS) - 1)
        for low_table, high_table in self._tables:
            high ^= low_table[low] & ((1 << _HIGH_BITS) - 1)
            low ^= high_table[high] & ((1 << _LOW_BITS) - 1)
        return high << _LOW_BITS | low

    def _decrypt(self, value: int) -> int:
        high, low = value >> _LOW_BITS, value & ((1 << _LOW_BITS) - 1)
        for low_table, high_table in reversed(self._tables):
            low ^= high_table[high] & ((1 << _LOW_BITS) - 1)
            high ^= low_table[low] & ((1 << _HIGH_BITS) - 1)
        return high << _LOW_BITS | low
