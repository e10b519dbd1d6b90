"""Builds the tokens that bad_inputs.json names, good ones and forged ones, and the JWK set that judges them."""

import base64
import hashlib
import hmac
import json
import time
import zlib
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.utils import raw_to_der_signature

Json = dict[str, Any]
TEN_MINUTES = 600
SHORT_LIFE_SECONDS = 3


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenIssuer:
    """Keys of every kind that is taken, and one that was taken until now."""

    def __init__(self) -> None:
        self.rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec_key = ec.generate_private_key(ec.SECP256R1())
        self.ed25519_key = Ed25519PrivateKey.generate()
        self.previous_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.removed_key = Ed25519PrivateKey.generate()

    def public_jwks(self, *, with_removed: bool = False) -> Json:
        """The JWK set as the issuer publishes it."""
        keys = [
            {**RSAAlgorithm.to_jwk(self.rsa_key.public_key(), as_dict=True), "kid": "rsa"},
            {**RSAAlgorithm.to_jwk(self.previous_key.public_key(), as_dict=True), "kid": "previous"},
            {**ECAlgorithm.to_jwk(self.ec_key.public_key(), as_dict=True), "kid": "ec"},
            {**OKPAlgorithm.to_jwk(self.ed25519_key.public_key(), as_dict=True), "kid": "ed"},
        ]
        if with_removed:
            keys.append({**OKPAlgorithm.to_jwk(self.removed_key.public_key(), as_dict=True), "kid": "removed"})
        return {"keys": keys}

    def write_jwks(self, path: Path) -> Path:
        path.write_text(json.dumps(self.public_jwks()))
        return path

    def claims(self, user_id: int = 21, **claims: Any) -> Json:
        now = int(time.time())
        all_claims = {"sub": str(user_id), "root_account_id": "1", "iat": now, "exp": now + TEN_MINUTES, **claims}
        return {name: value for name, value in all_claims.items() if value is not None}

    def token(self, user_id: int = 21, *, kid: str | None = "rsa", header: Json | None = None, **claims: Any) -> str:
        """A token signed with the RSA key; claims that are None are left out."""
        return jwt.encode(self.claims(user_id, **claims), self.rsa_key, "RS256", {"kid": kid, **(header or {})})

    def lms_token(self) -> str:
        """A token of the LMS."""
        return self.token(1, scope="moderation.facts")

    def corpus_token(self, name: str, user_id: int = 21) -> str:
        """The token that the corpus calls so, for a user."""
        claims = self.claims(user_id)
        match name:
            case "good" | "moderator" | "viewer" | "operator":
                return self.token(user_id)
            case "bad" | "tampered_payload":
                head, _, signature = self.token(user_id).split(".")
                other = base64url(json.dumps({**claims, "sub": "11"}).encode())
                return f"{head}.{other}.{signature}"
            case "alg_none":
                return f"{self._signed_part('none', 'rsa', claims)}."
            case "hs256_with_rsa_public_key":
                secret = self.rsa_key.public_key().public_bytes(
                    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                )
                return self._hs256(secret, claims)
            case "unknown_kid":
                return self.token(user_id, kid="nobody")
            case "kid_path":
                return self._hs256(b"", claims, kid="../../../../dev/null")
            case "es256_zero_sig":
                return f"{self._signed_part('ES256', 'ec', claims)}.{base64url(bytes(64))}"
            case "es256_der":
                part = self._signed_part("ES256", "ec", claims)
                raw = ECAlgorithm(ECAlgorithm.SHA256).sign(part.encode(), self.ec_key)
                return f"{part}.{base64url(raw_to_der_signature(raw, self.ec_key.curve))}"
            case "nbf_future":
                return self.token(user_id, nbf=int(time.time()) + 3_600)
            case "expired_while_queued":
                return self.token(user_id, exp=int(time.time()) + SHORT_LIFE_SECONDS)
            case "id_token_typ":
                return self.token(user_id, header={"typ": "ID"})
            case "sub_not_actor":
                return self.token(user_id + 1)
            case "facts_scope_moderation":
                return self.token(user_id, scope="moderation.facts")
            case "scope_list":
                return self.token(user_id, scope=["grades.read", "grades.write"])
            case "jwe_zip_bomb":
                sealed = {"alg": "dir", "enc": "A256GCM", "zip": "DEF", "kid": "rsa"}
                bomb = zlib.compress(bytes(1 << 20))
                parts = [json.dumps(sealed).encode(), b"", bytes(12), bomb, bytes(16)]
                return ".".join(base64url(part) for part in parts)
            case "previous_key":
                return jwt.encode(claims, self.previous_key, "RS256", {"kid": "previous"})
            case "removed_key":
                return jwt.encode(claims, self.removed_key, "EdDSA", {"kid": "removed"})
            case "other_account":
                return self.token(user_id, root_account_id="2")
        raise ValueError(f"no token {name}")

    @staticmethod
    def _signed_part(algorithm: str, kid: str, claims: Json) -> str:
        header = {"alg": algorithm, "typ": "JWT", "kid": kid}
        return ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))

    def _hs256(self, secret: bytes, claims: Json, kid: str = "rsa") -> str:
        """By hand: libraries refuse to sign with a public key."""
        part = self._signed_part("HS256", kid, claims)
        return f"{part}.{base64url(hmac.digest(secret, part.encode(), hashlib.sha256))}"
