"""An HTTP client of a gateway, in the name of any user."""

from typing import Any

import httpx

from tests.cases.tokens import TokenIssuer

Json = dict[str, Any]


class GatewayClient:
    """Tokens are kept, as clients do."""

    def __init__(self, url: str, issuer: TokenIssuer) -> None:
        self.url = url
        self.issuer = issuer
        self.http = httpx.AsyncClient(base_url=url, timeout=90)
        self._tokens: dict[tuple[int, str], str] = {}

    def bearer(self, user_id: int, root_account_id: str = "1") -> str:
        token = self._tokens.get((user_id, root_account_id))
        if token is None:
            token = self._tokens[user_id, root_account_id] = self.issuer.token(user_id, root_account_id=root_account_id)
        return f"Bearer {token}"

    async def request(
        self, method: str, path: str, user_id: int | None = None, headers: Json | None = None, **options: Any
    ) -> httpx.Response:
        """Send a request; without a user it carries no credentials."""
        auth_headers = {} if user_id is None else {"authorization": self.bearer(user_id)}
        return await self.http.request(method, path, headers={**auth_headers, **(headers or {})}, **options)
