"""Which requests count against an address, and which against a user."""

from pathlib import Path

import pytest
from fastapi import Request

from services.auth.jwks import JwkSet
from services.gateway.authentication import Authentication
from services.gateway.responses import ApiError
from tests.fixtures.token_issuer import TokenIssuer

PROXY, OTHER = "203.0.113.9", "203.0.113.10"


@pytest.fixture
def issuer() -> TokenIssuer:
    return TokenIssuer()


@pytest.fixture
async def authenticated(issuer: TokenIssuer, tmp_path: Path) -> Authentication:
    keys = JwkSet(str(issuer.write_jwks(tmp_path / "jwks.json")))
    await keys.load()
    return Authentication(keys, 2, unauthenticated_per_minute=3)


def request(token: str | None, address: str = PROXY) -> Request:
    headers = [] if token is None else [(b"authorization", b"Bearer " + token.encode())]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": headers, "client": (address, 1)})


async def status(authenticated: Authentication, token: str | None, address: str = PROXY) -> int:
    try:
        await authenticated.authenticate(request(token, address))
    except ApiError as error:
        return error.status
    return 200


async def test_requests_without_a_valid_token_are_limited_by_address(
    authenticated: Authentication, issuer: TokenIssuer
) -> None:
    wrong = issuer.corpus_token("tampered_payload")
    assert [await status(authenticated, token) for token in (None, wrong, None)] == [401] * 3
    assert [await status(authenticated, token) for token in (None, wrong)] == [429] * 2
    assert await status(authenticated, None, OTHER) == 401


async def test_unknown_tokens_are_not_verified_for_addresses_over_their_limit(
    authenticated: Authentication, issuer: TokenIssuer
) -> None:
    known, new = issuer.token(21), issuer.token(22)
    assert await status(authenticated, known) == 200
    for _ in range(3):
        await status(authenticated, None)
    assert (await status(authenticated, new), await status(authenticated, new, OTHER)) == (429, 200)
    assert await status(authenticated, known) == 200


async def test_authenticated_users_have_their_own_limit_instead_of_the_address_limit(
    authenticated: Authentication, issuer: TokenIssuer
) -> None:
    for user in range(21, 27):
        assert [await status(authenticated, issuer.token(user)) for _ in range(3)] == [200, 200, 429]
