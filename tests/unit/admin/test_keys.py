"""``admin create-keys`` adds what is missing to the keys of a folder, and changes none."""

import json
from pathlib import Path

import pytest
import typer

from services.admin.keys import create_keys, create_keys_command
from services.auth.signer import Json, generate_key, to_public_jwk
from services.runtime.command_line import ExitCode

FILES = {"issuer.key", "gateway.key", "scheduler.key", "users.jwks", "commands.jwks"}
FOREIGN = to_public_jwk(generate_key())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def public_half(path: Path) -> Json:
    return to_public_jwk(json.loads(path.read_bytes()))


def public_keys(path: Path) -> list[Json]:
    keys: list[Json] = json.loads(path.read_bytes())["keys"]
    return keys


def add_foreign_key(path: Path) -> None:
    path.write_text(json.dumps({"keys": [*public_keys(path), FOREIGN]}))


def test_new_folder_gets_every_key_and_the_sets_of_those_whose_tokens_are_accepted(tmp_path: Path) -> None:
    assert create_keys(tmp_path / "new")

    assert contents(tmp_path / "new").keys() == FILES
    issuer, gateway, scheduler = (
        public_half(tmp_path / "new" / f"{name}.key") for name in ("issuer", "gateway", "scheduler")
    )
    assert public_keys(tmp_path / "new/users.jwks") == [issuer]
    assert public_keys(tmp_path / "new/commands.jwks") == [issuer, gateway, scheduler]


def test_repetition_changes_nothing_not_even_a_set_from_which_a_key_was_removed(tmp_path: Path) -> None:
    create_keys(tmp_path)
    (tmp_path / "commands.jwks").write_text(json.dumps({"keys": [FOREIGN]}))
    before = contents(tmp_path)

    assert not create_keys(tmp_path)

    assert contents(tmp_path) == before


def test_missing_key_is_created_and_added_to_sets_that_keep_the_keys_of_other_senders(tmp_path: Path) -> None:
    create_keys(tmp_path)
    for name in ("users.jwks", "commands.jwks"):
        add_foreign_key(tmp_path / name)
    before, users, commands = (
        contents(tmp_path),
        public_keys(tmp_path / "users.jwks"),
        public_keys(tmp_path / "commands.jwks"),
    )
    (tmp_path / "issuer.key").unlink()

    assert create_keys(tmp_path)

    after, issuer = contents(tmp_path), public_half(tmp_path / "issuer.key")
    assert after.keys() == FILES
    assert (after["gateway.key"], after["scheduler.key"]) == (before["gateway.key"], before["scheduler.key"])
    assert public_keys(tmp_path / "users.jwks") == [*users, issuer]
    assert public_keys(tmp_path / "commands.jwks") == [*commands, issuer]
    assert issuer not in users
    assert (tmp_path / "issuer.key").stat().st_mode & 0o777 == 0o600


def test_missing_set_is_made_of_the_existing_keys(tmp_path: Path) -> None:
    create_keys(tmp_path)
    before = contents(tmp_path)
    (tmp_path / "commands.jwks").unlink()

    assert create_keys(tmp_path)

    assert contents(tmp_path) == before


@pytest.mark.parametrize("damaged", ["gateway.key", "users.jwks"])
def test_damaged_file_is_named_and_nothing_is_changed(
    damaged: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create_keys(tmp_path)
    (tmp_path / damaged).write_text("{")
    for missing in ("issuer.key", "commands.jwks"):
        (tmp_path / missing).unlink()
    before = contents(tmp_path)

    with pytest.raises(typer.Exit) as ended:
        create_keys_command(tmp_path)

    assert ended.value.exit_code == ExitCode.USAGE
    assert str(tmp_path / damaged) in capsys.readouterr().err
    assert contents(tmp_path) == before
