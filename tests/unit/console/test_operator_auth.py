"""The user whose token the commands of operators need."""

from pathlib import Path

from schemas.global_ids import GLOBAL_ID_BASE
from services.config.cli import OperatorSettings
from services.console.cli.operator_auth import authenticate_operator
from services.console.roles import Role
from tests.fixtures.token_issuer import TokenIssuer

SHARD = 7414


async def test_global_ids_of_the_shard_are_the_local_user_and_root_account(tmp_path: Path) -> None:
    issuer, base = TokenIssuer(), SHARD * GLOBAL_ID_BASE
    settings = OperatorSettings(
        database_url="postgresql://db/log",
        kafka_bootstrap="kafka:9092",
        jwks=str(issuer.write_jwks(tmp_path / "jwks.json")),
        operator_token=issuer.token(base + 77, scope="moderation.operator", root_account_id=str(base + 2)),
        live_events_shard=SHARD,
    )
    actor = await authenticate_operator(settings, Role.OPERATOR)
    assert (actor.root_account, actor.user_id) == (2, 77)
