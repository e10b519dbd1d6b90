"""Generated identifiers of a root account in live events, for an LMS that has stated none.

They depend only on the account's id, so that every course of the account has the same ones at all times. So do two
installations with the same account id: state the account's own values where their events are combined.
"""

import hashlib
from functools import lru_cache

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_UUID_CHARACTERS = 40


@lru_cache(maxsize=1_024)
def draw_uuid(root_account_id: int) -> str:
    """Generate forty letters and digits, as Canvas does."""
    remainder = int.from_bytes(hashlib.sha512(b"root account uuid %d" % root_account_id).digest(), "big")
    characters = []
    for _ in range(_UUID_CHARACTERS):
        remainder, digit = divmod(remainder, len(_ALPHABET))
        characters.append(_ALPHABET[digit])
    return "".join(characters)


@lru_cache(maxsize=1_024)
def draw_lti_guid(root_account_id: int) -> str:
    """Generate a hash and the kind of system, as Canvas's ``<hash>:canvas-lms``."""
    digest = hashlib.sha256(b"root account lti guid %d" % root_account_id).hexdigest()
    return f"{digest[:40]}:canvas-lms"
