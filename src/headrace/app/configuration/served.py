"""The same for the API: who applies may not give rights that he does not have, nor read the server's files by it."""

from __future__ import annotations

from collections.abc import Callable

from headrace.app.configuration import file as files
from headrace.app.configuration.applying import Configuration
from headrace.app.configuration.differences import Plan
from headrace.app.configuration.references import of_api
from headrace.config import Config
from headrace.console.access import REQUESTER
from headrace.console.configuration import ConfigurationAnswer, ConfigurationChange, ConfigurationOrder
from headrace.errors import RequestError
from headrace.workspace.workspace import Workspace


class ServedConfiguration:
    """Safe to use from several threads."""

    def __init__(self, config: Config, workspace: Workspace, notice: Callable[[], None]) -> None:
        self._config = config
        self._workspace = workspace
        self._notice = notice

    def text(self) -> str:
        return files.written(self._configuration().exported())

    def order(self, order: ConfigurationOrder) -> ConfigurationAnswer:
        wanted = files.read(order.text)
        configuration = self._configuration()
        plan = configuration.plan(wanted, prune=order.prune)
        requester = REQUESTER.get()
        touches_people = any(change.section == "people" and change.action != "stay" for change in plan.changes)
        if touches_people and (requester is None or requester.role != "owner"):
            raise RequestError(
                "role_refused",
                "configuration: the file changes people, which needs owner; take the section people out",
                403,
            )
        if order.dry_run:
            return ConfigurationAnswer(_shown(plan), plan.notes)
        applied = configuration.apply(wanted, prune=order.prune)
        self._notice()
        return ConfigurationAnswer(_shown(applied.plan), [*plan.notes, *applied.notes], applied.done, applied.error)

    def _configuration(self) -> Configuration:
        requester = REQUESTER.get()
        name = requester.name if requester else "configuration"
        return Configuration(self._workspace, self._config, of_api(self._config.folder), lambda: name)


def _shown(plan: Plan) -> list[ConfigurationChange]:
    return [ConfigurationChange(one.action, one.section, one.slug, one.title, one.lines) for one in plan.changes]
