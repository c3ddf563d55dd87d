"""What `headrace warehouse test` shows of a lake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import uuid4

import sqlalchemy as sa

from headrace.errors import HeadraceError
from headrace.warehouses._iceberg import check_url
from headrace.warehouses._iceberg_io import LakeFiles
from headrace.warehouses.base import Finding
from headrace.warehouses.iceberg import IcebergKind


def check(kind: IcebergKind) -> Sequence[Finding]:
    """Leaves nothing behind: a file is written and deleted, a table is made and dropped; a catalogue's file that was not there goes again."""
    found: list[Finding] = []
    steps: list[tuple[str, str, Callable[[IcebergKind], str]]] = [
        ("network", "start the catalogue's database, or correct `catalogue`", _reach),
        ("write", "give the access key the right to list, read, write and delete there, or correct `location`", _write),
    ]
    for step, remedy, take in steps:
        try:
            found.append(Finding(step, True, take(kind)))
        except HeadraceError as error:
            return [*found, Finding(step, False, str(error), remedy)]
        except (OSError, ValueError, sa.exc.SQLAlchemyError) as error:
            text = str(error).strip().split("\n", 1)[0]
            return [*found, Finding(step, False, f"{kind.location}: {text}", remedy)]
    return found


def _reach(kind: IcebergKind) -> str:
    is_file = kind.catalogue_url.startswith("sqlite:///")
    if is_file and not kind.folder.exists():
        if not kind.place.folder.is_dir():
            raise OSError(f"there is no folder {kind.place.folder}")
        return f"the catalogue will be made in {kind.folder}"
    check_url(kind)
    engine = sa.create_engine(kind.catalogue_url)
    probe = sa.Table(f"headrace_probe_{uuid4().hex}", sa.MetaData(), sa.Column("a", sa.Integer))
    try:
        with engine.connect() as connection:
            probe.create(connection)
            probe.drop(connection)  # SQLite would keep it in spite of the roll back
            connection.rollback()
    finally:
        engine.dispose()
    return "the catalogue's database answers, and tables can be made in it"


def _write(kind: IcebergKind) -> str:
    files = LakeFiles({**kind.storage})
    folder = f"{kind.location}/headrace-probe-{uuid4().hex}"
    path = f"{folder}/probe"
    with files.new_output(path).create() as stream:
        stream.write(b"headrace")
    try:
        with files.new_input(path).open() as readable:
            if readable.read() != b"headrace":
                raise OSError(f"{path} holds other bytes than were written")
    finally:
        files.delete(path)
        files.remove_folder(folder)
    return f"files can be written, read and deleted in {kind.location}"
