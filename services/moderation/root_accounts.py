"""What identifies a root account in live events, where the LMS has stated nothing.

Drawn from the account's id alone, so that every course of the account draws the same, now and later. Two installations
with the same id draw the same too: state the account's own values where their events meet.
"""

import hashlib
from functools import lru_cache

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_UUID_CHARACTERS = 40


@lru_cache(maxsize=1_024)
def draw_uuid(root_account_id: int) -> str:
    """Forty letters and digits, as Canvas's."""
    remainder = int.from_bytes(hashlib.sha512(b"root account uuid %d" % root_account_id).digest(), "big")
    characters = []
    for _ in range(_UUID_CHARACTERS):
        remainder, digit = divmod(remainder, len(_ALPHABET))
        characters.append(_ALPHABET[digit])
    return "".join(characters)


@lru_cache(maxsize=1_024)
def draw_lti_guid(root_account_id: int) -> str:
    """Draw a hash and the kind of system, as Canvas's ``<hash>:canvas-lms``."""
    digest = hashlib.sha256(b"root account lti guid %d" % root_account_id).hexdigest()
    return f"{digest[:40]}:canvas-lms"
