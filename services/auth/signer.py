"""Signs tokens with a private key, and generates keys: ``python -m services.auth.signer KEY JWKS``."""

import json
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from services.auth.jwks import JwksError

Json = dict[str, Any]


def generate_key() -> Json:
    """Generate a private EdDSA key as a JWK with a random key id."""
    jwk: Json = OKPAlgorithm.to_jwk(Ed25519PrivateKey.generate(), as_dict=True)
    return {**jwk, "kid": secrets.token_hex(8), "alg": "EdDSA", "use": "sig"}


def to_public_jwk(key: Json) -> Json:
    """Return the public half of a private JWK."""
    return {name: part for name, part in key.items() if name != "d"}


def write_private_key(path: Path, key: Json) -> None:
    """Write a private JWK to a new file that only its owner can read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(key, file)


def write_jwks(path: Path, keys: list[Json]) -> None:
    """Write the public halves as a JWK set, atomically: readers see the old file or the new one."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps({"keys": [to_public_jwk(key) for key in keys]}))
    draft.replace(path)


class TokenSigner:
    """Signs tokens with the private JWK in a file. Raises JwksError unless the file holds an Ed25519 key with a kid."""

    def __init__(self, path: Path) -> None:
        try:
            key = json.loads(path.read_text())
            self.kid = str(key["kid"])
            private_key = OKPAlgorithm.from_jwk(key)
            if not isinstance(private_key, Ed25519PrivateKey):
                raise ValueError("it is not a private key")
            self._private_key = private_key
        except (OSError, ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
            raise JwksError(f"{path} holds no private Ed25519 JWK with a kid: {type(error).__name__}") from None

    def issue_token(
        self, user_id: int, root_account_id: int, lifetime_seconds: float, scope: str | None = None, **claims: Any
    ) -> str:
        """Issue a token for a user, valid from now for ``lifetime_seconds``."""
        now = time.time()
        payload: Json = {
            "sub": str(user_id),
            "root_account_id": str(root_account_id),
            "iat": int(now),
            "exp": int(now + lifetime_seconds),
            **claims,
        }
        if scope is not None:
            payload["scope"] = scope
        return jwt.encode(payload, self._private_key, algorithm="EdDSA", headers={"kid": self.kid})


def main(key_file: Path, jwks_file: Path) -> None:
    """Generate a key and add its public half to a JWK set; creates the set if it is missing."""
    existing_keys = json.loads(jwks_file.read_text())["keys"] if jwks_file.exists() else []
    key = generate_key()
    write_private_key(key_file, key)
    write_jwks(jwks_file, [*existing_keys, key])
    print(f"generated key {key['kid']}: private half in {key_file}, public half in {jwks_file}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m services.auth.signer PRIVATE_KEY_FILE JWK_SET_FILE")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
