"""What a workspace chooses about its e-mail model, as one text. What stands in it belongs to the room of reports, above this one."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from headrace.errors import ConfigError
from headrace.workspace import database
from headrace.workspace.database import Database


class KeptText(NamedTuple):
    """JSON, None as long as nothing was chosen. `revision` counts its own changes, from 0."""

    text: str | None
    revision: int


class WorkspaceEmailModel:
    """Every change is one transaction and counts the workspace's revision up."""

    def __init__(self, opened: Database) -> None:
        self._database = opened

    def kept(self) -> KeptText:
        with self._database.read() as connection:
            return _kept(connection)

    def keep(self, text: str, revision: int) -> KeptText:
        """Put the text in the place of the one of that revision; the same text changes nothing.

        Raises ConfigError when somebody else has changed it since."""
        with self._database.write() as connection:
            before = _kept(connection)
            if before.revision != revision:
                raise ConfigError(
                    f"email settings: they are at revision {before.revision}, and these were made from {revision}; "
                    "somebody has changed them since: read them again, and change those"
                )
            if text == before.text:
                return before
            after = KeptText(text, revision + 1)
            connection.execute(sa.update(database.email_model).values(settings=text, revision=after.revision))
            database.count_change(connection)
            return after


def _kept(connection: sa.Connection) -> KeptText:
    row = connection.execute(sa.select(database.email_model)).one()
    return KeptText(row.settings, row.revision)
