"""Sign-in by an OpenID provider: authorization code with PKCE, any provider by its discovery document.

Authlib implements the protocol: it generates and checks state, nonce and code verifier, and validates the ID token.
Between the two requests of a sign-in they are in a cookie of the browser, so that any console can complete the sign-in.
 The ID token is then the session's token, and is verified again for each page, like a pasted one.
"""

import asyncio
import base64
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth, StarletteOAuth2App
from fastapi import Request
from fastapi.responses import Response
from joserfc.errors import JoseError

from services.auth.jwks import JwkSet
from services.auth.token_rules import TokenRules
from services.auth.verifier import ClaimNames, Claims, InvalidToken, TokenVerifier, get_key_id
from services.config.console import ConsoleSettings
from services.config.urls import validate_jwks_location

CALLBACK_PATH = "/sign-in/openid/callback"
SIGN_IN_SECONDS_MAX = 600
PROVIDER_SECONDS_MAX = 5
DISCOVERY_RETRY_SECONDS = 10
"""The pause before a failed read of the discovery document is repeated, however many requests arrive."""
_ERROR_CODE = re.compile("[a-z_]{1,60}")


class SignInFailed(Exception):
    """The provider refused, or its response does not belong to this browser; the message states what to do."""


class OpenIdProvider:
    """The configured provider. Its documents are read when they are first needed."""

    def __init__(self, settings: ConsoleSettings, clock: Callable[[], float] = time.monotonic) -> None:
        assert settings.console_openid_issuer is not None
        assert settings.console_openid_client_id is not None
        self.issuer = settings.console_openid_issuer
        self.host = urlsplit(self.issuer).netloc
        self.redirect_uri = settings.console_url + CALLBACK_PATH
        self.is_secure = settings.console_url.startswith("https:")
        self.cookie_name = "__Host-moderation-sign-in" if self.is_secure else "moderation-sign-in"
        self._keys_age_max = settings.jwks_age_max
        self._rules = TokenRules(
            settings.console_openid_client_id, self.issuer, settings.jwt_lifetime_max, accepts_id_tokens=True
        )
        self._claim_names = ClaimNames(settings.console_openid_user_claim, settings.console_openid_scope_claim)
        self._live_events_shard = settings.live_events_shard
        self._verifier: TokenVerifier | None = None
        self._clock = clock
        self._discovery_lock = asyncio.Lock()
        self._discovery_retry_at = float("-inf")
        secret_file = settings.console_openid_client_secret_file
        self._client: StarletteOAuth2App = OAuth().register(
            "openid",
            server_metadata_url=self.issuer.rstrip("/") + "/.well-known/openid-configuration",
            client_id=settings.console_openid_client_id,
            client_secret=None if secret_file is None else secret_file.read_text().strip(),
            client_kwargs={
                "scope": settings.console_openid_scopes,
                "code_challenge_method": "S256",
                "timeout": PROVIDER_SECONDS_MAX,
                **({"token_endpoint_auth_method": "none"} if secret_file is None else {}),
            },
        )

    async def begin(self, request: Request, next_path: str) -> Response:
        """Redirect to the provider, and store the values to check its response in a cookie. Raises SignInFailed."""
        await self._load_metadata()
        session: dict[str, dict[str, Any]] = {}
        request.scope["session"] = session
        try:
            response: Response = await self._client.authorize_redirect(request, self.redirect_uri)
        except (httpx2.HTTPError, AuthlibBaseError, ValueError, RuntimeError) as error:
            raise self._unavailable(error) from None
        for state in session.values():
            del state["data"]["url"]
        content = base64.urlsafe_b64encode(json.dumps({"next": next_path, "session": session}).encode()).decode()
        # Lax, because browsers send no Strict cookie when the provider's page redirects back here.
        response.set_cookie(
            self.cookie_name,
            content,
            max_age=SIGN_IN_SECONDS_MAX,
            httponly=True,
            samesite="lax",
            secure=self.is_secure,
        )
        return response

    async def finish(self, request: Request) -> tuple[str, str]:
        """Exchange the provider's response for the ID token; return it and the next path. Raises SignInFailed."""
        error_code = request.query_params.get("error")
        if error_code is not None:
            shown = error_code if _ERROR_CODE.fullmatch(error_code) else "an error"
            raise SignInFailed(f"{self.host} answered with {shown}")
        request.scope["session"], next_path = self._read_cookie(request)
        await self._load_metadata()
        try:
            token: dict[str, Any] = await self._client.authorize_access_token(request)
        except httpx2.HTTPError as error:
            raise self._unavailable(error) from None
        except (AuthlibBaseError, JoseError, ValueError, RuntimeError) as error:
            raise SignInFailed(
                f"the response of {self.host} is not for this browser's sign-in ({type(error).__name__}): sign in again"
            ) from None
        if "userinfo" not in token:
            raise SignInFailed(f"{self.host} sent no ID token: its client must have the scope openid")
        return str(token["id_token"]), next_path

    def forget(self, response: Response) -> None:
        """Delete the cookie of a sign-in, which is valid only once."""
        response.delete_cookie(self.cookie_name, httponly=True, samesite="lax", secure=self.is_secure)

    async def verify(self, id_token: str) -> Claims:
        """Return the claims of an ID token, checked by the rules for tokens. Raises InvalidToken."""
        verifier = self._verifier or await self._discover()
        await verifier.keys.refresh(() if verifier.is_cached(id_token) else [get_key_id(id_token)])
        return verifier.verify(id_token)

    def is_expected(self, request: Request) -> bool:
        """Return whether this browser began a sign-in, so that the provider may redirect back to it."""
        return self.cookie_name in request.cookies

    async def find_sign_out_url(self) -> str | None:
        """Return the provider's page that ends the user's session there, None if it has none or does not answer."""
        try:
            metadata = await self._load_metadata()
        except SignInFailed:
            return None
        if "end_session_endpoint" not in metadata:
            return None
        url: str = (await self._client.create_logout_url(client_id=self._client.client_id))["url"]
        return url if urlsplit(url).scheme in ("http", "https") else None

    async def _discover(self) -> TokenVerifier:
        try:
            location = (await self._load_metadata()).get("jwks_uri")
            keys = JwkSet(validate_jwks_location(str(location)) or "", age_seconds_max=self._keys_age_max)
            await keys.load()
        except SignInFailed as error:
            raise InvalidToken("unknown_key", str(error)) from None
        except (ValueError, OSError) as error:
            self._discovery_retry_at = self._clock() + DISCOVERY_RETRY_SECONDS
            raise InvalidToken("unknown_key", str(self._unavailable(error))) from None
        self._verifier = TokenVerifier(keys, self._live_events_shard, self._rules, self._claim_names)
        return self._verifier

    async def _load_metadata(self) -> Mapping[str, Any]:
        """Return the discovery document, read once; after a failure not again for DISCOVERY_RETRY_SECONDS.

        Raises:
            SignInFailed: it, or the keys that it names, cannot be read, or could not a moment ago.
        """
        async with self._discovery_lock:
            if self._clock() < self._discovery_retry_at:
                raise SignInFailed(f"{self.host} does not answer as an OpenID provider: try again in a moment")
            try:
                metadata: Mapping[str, Any] = await self._client.load_server_metadata()
            except (httpx2.HTTPError, ValueError) as error:
                self._discovery_retry_at = self._clock() + DISCOVERY_RETRY_SECONDS
                raise self._unavailable(error) from None
        return metadata

    def _unavailable(self, error: Exception) -> SignInFailed:
        return SignInFailed(f"{self.host} does not answer as an OpenID provider ({type(error).__name__}): try again")

    def _read_cookie(self, request: Request) -> tuple[dict[str, Any], str]:
        """Return Authlib's session and the next path; both are empty without a cookie of ours."""
        try:
            content = json.loads(base64.urlsafe_b64decode(request.cookies.get(self.cookie_name, "")))
            session = {
                str(name): {"data": dict(state["data"]), "exp": float(state["exp"])}
                for name, state in content["session"].items()
            }
            return session, str(content["next"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return {}, ""
