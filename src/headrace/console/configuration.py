"""The workspace as a file in the JSON API: written, compared, applied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

import msgspec
from litestar import Response, get, post
from litestar.params import Body

MOST_TEXT = 5_000_000


class ConfigurationOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`text` is the file. `prune`: remove what its sections do not name. With `dry_run` nothing is changed."""

    text: Annotated[str, msgspec.Meta(max_length=MOST_TEXT)]
    prune: bool = False
    dry_run: bool = True


class ConfigurationChange(msgspec.Struct, frozen=True):
    """`lines`: what of the thing changes; of secrets only that they do. `stay`: it is not in the file, and is left alone."""

    action: Literal["add", "change", "remove", "stay"]
    section: str
    slug: str
    title: str
    lines: Sequence[str]


class ConfigurationAnswer(msgspec.Struct, frozen=True):
    """`notes` have what is shown only now, such as write keys. `done` are titles of what was changed; `error` is why it ended early."""

    changes: Sequence[ConfigurationChange]
    notes: Sequence[str]
    done: Sequence[str] = ()
    error: str | None = None


class Configurations(Protocol):
    """All may be called from any thread and raise HeadraceError."""

    def text(self) -> str: ...

    def order(self, order: ConfigurationOrder) -> ConfigurationAnswer:
        """Raises ConfigError for a file that cannot be, RequestError for one that the one who asks may not apply."""
        ...


class Worker(Protocol):
    @property
    def configurations(self) -> Configurations: ...


def routes(worker: Worker) -> list[Any]:
    @get("/configuration", role="admin", sync_to_thread=True, media_type="application/yaml")
    def show_configuration() -> Response[bytes]:
        """A YAML file; secrets in it are references."""
        headers = {"content-disposition": 'attachment; filename="headrace.yaml"'}
        return Response(
            worker.configurations.text().encode(), media_type="application/yaml; charset=utf-8", headers=headers
        )

    @post("/configuration", role="admin", sync_to_thread=True, status_code=200)
    def apply_configuration(
        data: Annotated[ConfigurationOrder, Body(description="The file, and whether it is only compared")],
    ) -> ConfigurationAnswer:
        return worker.configurations.order(data)

    return [show_configuration, apply_configuration]
