"""What the archive must do, in a folder and in a bucket."""

from __future__ import annotations

import itertools
import logging
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import duckdb
import msgspec
import pytest

from archives import AT, KEY, SECRET, House, made, moto, read_through
from conftest import missing
from headrace import event
from headrace.archive import manifest, reader, stream, writer
from headrace.archive.archiver import Archiver
from headrace.archive.storage import FolderStorage, Storage, open_storage
from headrace.config import ArchiveConfig, LogConfig
from headrace.errors import ConfigError, PositionError, RetryableError
from headrace.event import LogEntry
from headrace.log.base import Bounds, Hour, Tally, hour_of, tallied
from headrace.log.hourly import by_source, numbered
from list_log import ListLog

ONE = timedelta(hours=1)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    if find_spec("moto") is None or find_spec("flask") is None:
        missing("moto[server] is not installed; `make setup` installs it")
    with moto() as address:
        yield address


buckets = itertools.count()


def bucket(s3: str) -> ArchiveConfig:
    """A new bucket."""
    from pyarrow import fs

    path = f"archive-{next(buckets)}"
    config = ArchiveConfig(
        enabled=True,
        path=f"s3://{path}/team/events",
        endpoint=s3,
        region="eu-west-1",
        access_key=KEY,
        secret_key=SECRET,
    )
    files = fs.S3FileSystem(
        access_key=KEY, secret_key=SECRET, region="eu-west-1", endpoint_override=s3.removeprefix("http://"), scheme="http",
        allow_bucket_creation=True,
    )  # fmt: skip
    files.create_dir(path)
    return config


@pytest.fixture(params=["folder", "s3"])
def config(request: pytest.FixtureRequest) -> ArchiveConfig:
    return bucket(request.getfixturevalue("s3")) if request.param == "s3" else ArchiveConfig(enabled=True)


@pytest.fixture
def house(config: ArchiveConfig, tmp_path: Path) -> Iterator[House]:
    opened = House(tmp_path, config)
    yield opened
    opened.close()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[House]:
    opened = House(tmp_path, ArchiveConfig(enabled=True))
    yield opened
    opened.close()


def filled(house: House, ranges: int = 3, per_range: int = 40) -> list[LogEntry]:
    """Ranges of two sources over two hours each, refused entries among them."""
    entries: list[LogEntry] = []
    archiver = house.archiver()
    for number in range(ranges):
        part = [
            made(n, ("shop", "mail")[n % 3 == 0], AT + (number + (n > per_range // 2)) * ONE, is_refused=n % 5 == 0)
            for n in range(number * per_range, (number + 1) * per_range)
        ]
        for start in range(0, per_range, 8):
            house.append(*part[start : start + 8])
        entries += part
        assert archiver.step(force=True)
    return entries


# The storage.


def test_a_stored_file_is_there_as_a_whole_under_its_name_and_may_be_replaced(
    config: ArchiveConfig, tmp_path: Path
) -> None:
    place = open_storage(config, tmp_path)
    assert [] == list(place.names("a/b"))
    with pytest.raises(FileNotFoundError):
        place.read("a/b/c.json")
    place.write("a/b/c.json", b"1")
    place.write("a/b/c.json", b"22")
    place.drafts.mkdir(parents=True, exist_ok=True)
    draft = place.drafts / "draft"
    draft.write_bytes(b"x" * 9_000_000)
    place.put("a/b/d/e.zst", draft)
    assert not draft.exists()
    assert (b"22", b"x" * 9_000_000) == (place.read("a/b/c.json"), place.read("a/b/d/e.zst"))
    assert (["c.json"], ["d"]) == (list(place.names("a/b")), list(place.folders("a/b")))
    place.remove("a/b/c.json")
    place.remove("a/b/c.json")
    assert [] == list(place.names("a/b"))


def test_a_storage_that_cannot_be_reached_is_tried_again_not_taken_for_empty(s3: str, tmp_path: Path) -> None:
    nowhere = msgspec.structs.replace(bucket(s3), endpoint="http://127.0.0.1:9")
    with pytest.raises(RetryableError, match="look at the bucket"):
        open_storage(nowhere, tmp_path).names("x")
    no_bucket = msgspec.structs.replace(bucket(s3), path="s3://not-there/x")
    with pytest.raises(RetryableError):
        open_storage(no_bucket, tmp_path).write("x/y", b"1")
    file = tmp_path / "a-file"
    file.write_text("")
    with pytest.raises(RetryableError, match="make room or mend the disk"):
        FolderStorage(file).write("x", b"1")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (ArchiveConfig(path="s3://"), "names no bucket"),
        (ArchiveConfig(path="s3://bucket", access_key="x"), "go together"),
        (ArchiveConfig(path="gs://bucket/x"), "neither a folder nor s3://"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(config: ArchiveConfig, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        open_storage(config, tmp_path)


# Archiving and reading back.


def test_what_was_archived_is_read_back_in_order_with_its_books(house: House) -> None:
    entries = filled(house)
    for archived in (house.archived(), house.archived(is_alone=True)):
        assert (entries, []) == read_through(archived)
        assert Bounds(0, 120) == archived.bounds()
        assert tallied(entries) == archived.hourly().tallies
        assert by_source(numbered(tallied(entries))) == archived.totals()


def test_every_offset_may_be_read_from_and_any_limit_holds(house: House) -> None:
    entries = filled(house, 2)
    alone = house.archived(is_alone=True)
    for offset in range(0, 80, 3):
        assert entries[offset:] == read_through(alone, offset)[0]
    for most in (1, 3, 1_000):
        assert entries == read_through(alone, 0, most, 10_000_000)[0]
        assert len(alone.read(5, max_entries=most, max_bytes=10_000_000).entries) <= most
    assert 1 == len(alone.read(5, max_entries=9, max_bytes=1).entries)
    with pytest.raises(PositionError, match="ends at offset 80"):
        alone.read(81, max_entries=1, max_bytes=1)
    assert 80 == alone.read(80, max_entries=1, max_bytes=1).next


def test_reading_goes_from_the_archive_into_the_log_without_a_seam(tmp_path: Path, config: ArchiveConfig) -> None:
    house = House(tmp_path, config, LogConfig(segment_bytes=65_536, retention_bytes=0))
    archiver = house.archiver()
    entries: list[LogEntry] = []
    for number in range(6):
        house.append(*(part := [made(number * 10 + n, padding=40_000) for n in range(10)]))
        entries += part
        if number in (1, 3):
            archiver.step(force=True)
        house.writer.close()
        house.writer = house.log.writer(0)
    assert 40 == archiver.stored(0)
    log = house.reader()
    assert log.retain(archiver.stored(0))
    first = log.bounds().first
    assert 0 < first <= 40
    archived = house.archived()
    assert Bounds(0, 60) == archived.bounds()
    for offset in range(0, 60, 7):
        assert (entries[offset:], []) == read_through(archived, offset, 3, 10_000_000)
    assert read_through(log, 0)[1], "the control: the log alone has lost the beginning"
    house.close()


def test_a_choice_of_sources_reads_their_files_alone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = filled(house)
    house.append(*(late := [made(500, "mail"), made(501)]))
    read: list[str] = []
    whole = type(house.storage).read

    def noted(place: Storage, name: str) -> bytes:
        read.append(name)
        return whole(place, name)

    monkeypatch.setattr(type(house.storage), "read", noted)
    alone = house.archived(["mail"], is_alone=True)
    assert ([entry for entry in entries if entry.source == "mail"], []) == read_through(alone)
    assert read
    assert not [name for name in read if "/shop/" in name]
    with_log = house.archived(["mail"])
    assert [entry for entry in (*entries, *late) if entry.source == "mail"] == read_through(with_log)[0]


def test_offsets_that_leap_and_what_the_log_lost_are_archived_as_they_were(house: House) -> None:
    house.append(*(first := [made(n) for n in range(5)]))
    # Killed, not closed: the next writer leaves offsets out.
    os.close(house.writer._lock)  # type: ignore[attr-defined]
    house.writer = house.log.writer(0)
    house.append(*(second := [made(n) for n in range(5, 9)]))
    archiver = house.archiver()
    assert archiver.step(force=True)
    assert (5, house.writer.next) == (house.manifests()[0].runs[0].next, house.manifests()[0].next)
    alone = house.archived(is_alone=True)
    assert (first + second, []) == read_through(alone)
    assert second[1:] == read_through(alone, house.writer.next - 3)[0]


def test_gaps_that_the_log_reported_come_back_with_their_hours(house: House) -> None:
    log = ListLog(incarnation=house.log.incarnation())
    log.append(first := [made(n) for n in range(3)])
    lost = {Hour("shop", hour_of(AT)): Tally(2, 1), Hour("mail", hour_of(AT + ONE)): Tally(1)}
    log.lose({"shop": Tally(2, 1), "mail": Tally(1)}, "log_removed", "they were removed", lost)
    log.append(second := [made(n) for n in range(3, 6)])
    archiver = Archiver([log], house.storage, house.config)
    assert archiver.step(force=True)
    alone = house.archived(is_alone=True)
    entries, (gap,) = read_through(alone)
    assert first + second == entries
    assert (3, 7, lost, "log_removed", "they were removed") == (gap.first, gap.next, gap.hours, gap.code, gap.reason)
    assert log.hourly().tallies == alone.hourly().tallies
    (of_mail,) = read_through(house.archived(["mail"], is_alone=True))[1]
    assert {"mail": Tally(1)} == of_mail.lost
    assert [] == read_through(house.archived(["other"], is_alone=True))[1]


# When a range closes.


def test_a_range_closes_at_its_age_also_when_nothing_more_comes(local: House) -> None:
    archiver = local.archiver(interval_seconds=3_600)
    local.seconds = 60
    assert archiver.step() is None
    local.append(made(1))
    assert archiver.step() is None
    local.seconds += 3_539  # the event has been received at 0
    assert archiver.step() is None
    assert 1 == archiver.progress()[0].waiting
    local.seconds += 1
    outcome = archiver.step()
    assert outcome is not None
    assert (0, 1, 1, False) == (outcome.start, outcome.end, outcome.entries, outcome.is_full)
    assert archiver.step() is None
    assert (1, 0, None) == (archiver.stored(0), archiver.progress()[0].waiting, archiver.progress()[0].error)


def test_a_range_closes_at_its_size_and_few_files_are_made(local: House) -> None:
    archiver = local.archiver(range_bytes=65_536)
    for start in range(0, 300, 10):
        local.append(*(made(n, padding=1_000) for n in range(start, start + 10)))
    outcomes = []
    while (outcome := archiver.step()) is not None:
        outcomes.append(outcome)
    assert len(outcomes) > 2
    assert all(outcome.is_full for outcome in outcomes[:-1])
    assert 65_536 * 2 > max(file.content_bytes for one in local.manifests() for file in one.files)
    archiver.step(force=True)
    assert 300 == sum(one.entries for one in local.manifests())


def test_more_sources_than_files_may_be_open_make_more_ranges(local: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MOST_FILES", 3)
    entries = [made(n, f"s{n % 7}") for n in range(20)]
    local.append(*entries)
    archiver = local.archiver()
    while archiver.step(force=True) is not None:
        pass
    assert max(len(one.files) for one in local.manifests()) == 3
    assert (entries, []) == read_through(local.archived(is_alone=True))


def test_an_archive_that_is_new_begins_where_the_log_does(tmp_path: Path) -> None:
    house = House(tmp_path, ArchiveConfig(enabled=True), LogConfig(segment_bytes=65_536, retention_bytes=0))
    for number in range(4):
        house.append(*(made(number * 10 + n, padding=40_000) for n in range(10)))
        house.writer.close()
        house.writer = house.log.writer(0)
    log = house.reader()
    log.retain(40)
    first = log.bounds().first
    assert first > 0
    assert house.archiver().step(force=True)
    assert (first, 40, []) == (house.manifests()[0].first, house.manifests()[0].next, list(house.manifests()[0].gaps))
    assert Bounds(first, 40) == house.archived().bounds()
    house.close()


def test_partitions_take_turns_and_the_one_that_fails_stops_no_other(
    local: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = local.log.writer(1)
    local.append(made(1))
    other.append([event.encode(made(2))], tallied([made(2)]))
    readers = [local.reader(), local.log.reader(1)]
    archiver = Archiver(readers, local.storage, local.config)

    def broken(*_: object, **__: object) -> None:
        raise RetryableError("cannot be read now")

    with monkeypatch.context() as patch:
        patch.setattr(readers[0], "bounds", broken)
        outcome = archiver.step(force=True)
        assert outcome is not None
        assert 1 == outcome.partition
        with pytest.raises(RetryableError):
            archiver.step(force=True)
        assert {0: "cannot be read now", 1: None} == {one.partition: one.error for one in archiver.progress()}
    outcome = archiver.step(force=True)
    assert outcome is not None
    assert (0, None) == (outcome.partition, archiver.progress()[-1].error)
    assert [0, 1] == list(reader.partitions(local.storage, local.log.incarnation()))
    assert [local.log.incarnation()] == list(reader.incarnations(local.storage))
    other.close()
    readers[1].close()


def test_run_archives_until_it_is_told_to_stop(local: House) -> None:
    local.append(*(made(n) for n in range(10)))
    archiver = local.archiver(interval_seconds=1.0)
    local.seconds = 10.0
    stop = threading.Event()
    thread = threading.Thread(target=archiver.run, args=(stop,))
    thread.start()
    for _ in range(400):
        if archiver.stored(0) == 10:
            break
        stop.wait(0.05)
    stop.set()
    thread.join(20)
    assert (10, 10) == (archiver.stored(0), archiver.progress()[0].entries)


# Errors, and what an interrupted range leaves.


class Failing:
    """A storage whose n-th change fails, before or after it was made."""

    def __init__(self, inner: Storage, when: int, *, is_after: bool) -> None:
        self._inner = inner
        self._left = when
        self._is_after = is_after
        self.drafts = inner.drafts
        self.read, self.names, self.folders, self.remove = inner.read, inner.names, inner.folders, inner.remove

    def put(self, name: str, draft: Path) -> None:
        self._changing(lambda: self._inner.put(name, draft))

    def write(self, name: str, content: bytes) -> None:
        self._changing(lambda: self._inner.write(name, content))

    def _changing(self, change: Callable[[], None]) -> None:
        self._left -= 1
        if self._left == 0 and not self._is_after:
            raise RetryableError("the storage is down")
        change()
        if self._left == 0:
            raise RetryableError("the storage is down")


def all_lines(house: House) -> list[LogEntry]:
    """What a tool sees that reads every file there is and knows of no manifest."""
    assert isinstance(house.storage, FolderStorage)
    root = house.place / "archive"
    found = [one for file in root.rglob(f"*{manifest.ENDING}") for one in stream._entries(file.read_bytes())]
    return [one.entry for one in sorted(found)]


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("when", range(1, 7))
def test_a_storage_that_fails_at_any_moment_leaves_every_entry_once(
    local: House, when: int, *, is_after: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A range is six changes here: what is begun, four files, the manifest."""
    entries = [made(n, f"s{n % 4}") for n in range(20)]
    local.append(*entries)
    archiver = Archiver([local.reader()], Failing(local.storage, when, is_after=is_after), local.config)
    with caplog.at_level(logging.ERROR), pytest.raises(RetryableError, match="is down"):
        archiver.step(force=True)
    assert "the storage is down" in caplog.text
    assert "the storage is down" == archiver.progress()[0].error
    later = [made(n, f"s{n % 4}", AT + ONE) for n in range(20, 25)]
    local.append(*later)
    if when == 6 and is_after:
        # The manifest is there, though its writer was told otherwise; only a new look shows it.
        archiver = local.archiver()
    assert archiver.step(force=True)
    assert (entries + later, []) == read_through(local.archived(is_alone=True))
    assert entries + later == all_lines(local), "and no file is left over for tools that know of no manifest"
    assert [] == list(local.storage.drafts.iterdir())


def test_a_manifest_whose_writing_seemed_to_fail_is_found_by_the_same_archiver(local: House) -> None:
    local.append(*(entries := [made(n) for n in range(5)]))
    archiver = Archiver([local.reader()], Failing(local.storage, 3, is_after=True), local.config)
    with pytest.raises(RetryableError):
        archiver.step(force=True)
    local.append(*(later := [made(n) for n in range(5, 9)]))
    assert archiver.step(force=True)
    assert [(0, 5), (5, 9)] == [(one.first, one.next) for one in local.manifests()]
    assert (entries + later, []) == read_through(local.archived(is_alone=True))


def test_a_log_that_lost_its_end_ends_archiving_loudly(local: House) -> None:
    local.append(*(made(n) for n in range(5)))
    assert local.archiver().step(force=True)
    shorter = ListLog(incarnation=local.log.incarnation())
    shorter.append(made(n) for n in range(3))
    archiver = Archiver([shorter], local.storage, local.config)
    with pytest.raises(PositionError, match="the archive ends at offset 5"):
        archiver.step()
    assert "offset 5" in (archiver.progress()[0].error or "")


# Damage.


def files_of(house: House, source: str) -> list[manifest.File]:
    return [file for one in house.manifests() for file in one.files if file.source == source]


def damage(house: House, path: str, kind: str) -> None:
    if kind == "gone":
        house.storage.remove(path)
    else:
        content = bytearray(house.storage.read(path))
        content[len(content) // 2] ^= 1
        house.storage.write(path, bytes(content))


CODES = {"gone": "log_removed", "flipped": "log_corrupt"}


@pytest.mark.parametrize("kind", sorted(CODES))
@pytest.mark.parametrize("sources", [None, ["mail"], ["shop"]])
def test_what_a_damaged_file_had_is_a_gap_to_the_entry(house: House, kind: str, sources: list[str] | None) -> None:
    entries = filled(house)
    file = files_of(house, "mail")[1]
    damage(house, file.path, kind)
    wanted = [entry for entry in entries if sources is None or entry.source in sources]
    lost = [entry for entry in wanted if (entry.source, hour_of(entry.received_at)) == ("mail", file.hour)]
    lost = [entry for entry in lost if entries.index(entry) < 40]
    kept = [entry for entry in wanted if entry not in lost]
    for most in (1, 7, 1_000):
        found, gaps = read_through(house.archived(sources, is_alone=True), 0, most, 10_000_000)
        assert kept == found
        counted: dict[Hour, Tally] = {}
        for gap in gaps:
            assert (CODES[kind], True) == (gap.code, file.path in gap.reason)
            for hour, tally in gap.lost_by_hour.items():
                manifest.count(counted, hour, tally)
        assert tallied(lost) == counted
    # From any offset just what is lost from there on.
    for offset in range(0, 120, 11):
        found, gaps = read_through(house.archived(sources, is_alone=True), offset)
        after = [entry for entry in lost if entries.index(entry) >= offset]
        assert len(after) == sum(sum(map(sum, gap.lost.values())) for gap in gaps)
        assert [entry for entry in kept if entries.index(entry) >= offset] == found


@pytest.mark.parametrize("kind", sorted(CODES))
def test_a_damaged_manifest_is_a_gap_of_its_range(house: House, kind: str) -> None:
    entries = filled(house)
    place = manifest.folder(house.log.incarnation(), 0)
    damage(house, f"{place}/{manifest.name(manifest.Extent(40, 80))}", kind)
    found, (gap,) = read_through(house.archived(is_alone=True))
    assert entries[:40] + entries[80:] == found
    assert (40, 80, CODES[kind]) == (gap.first, gap.next, gap.code)
    assert by_source(numbered(tallied(entries[40:80]))) == gap.lost
    assert entries == read_through(house.archived())[0], "as long as the log has it, nothing is lost"


def test_an_archive_out_of_reach_is_no_loss(local: House) -> None:
    filled(local)
    alone = local.archived(is_alone=True)
    alone.read(0, max_entries=1, max_bytes=1)
    root = local.place / "archive"
    root.rename(local.place / "unmounted")
    with pytest.raises(RetryableError, match="out of reach"):
        alone.read(45, max_entries=1, max_bytes=1)
    (local.place / "unmounted").rename(root)
    assert 1 == len(alone.read(45, max_entries=1, max_bytes=1).entries)


# Other tools.


def test_files_are_read_by_zstd_and_by_duckdb(local: House, need: Callable[[str], str]) -> None:
    entries = filled(local)
    file = local.place / "archive" / files_of(local, "shop")[0].path
    told = subprocess.run([need("zstd"), "-dc", str(file)], capture_output=True, check=True, timeout=60).stdout
    assert {"shop"} == {msgspec.json.decode(line)["source"] for line in told.splitlines()}
    glob = local.place / "archive" / "*" / "events" / "**" / f"*{manifest.ENDING}"
    query = f"SELECT source, count(*) FROM read_json('{glob}', format = 'newline_delimited', union_by_name = true) GROUP BY 1"
    expected = {source: sum(tally) for source, tally in by_source(numbered(tallied(entries))).items()}
    assert expected == dict(duckdb.connect().execute(query).fetchall())


def test_names_of_sources_never_leave_their_folder() -> None:
    extent = manifest.Extent(0, 5)
    paths = [
        manifest.file_path("log-1", 0, Hour(source, AT), extent)
        for source in ("shop", "../../etc", "..", ".", "", "a/b")
    ]
    assert len(paths) == len(set(paths))
    for path in paths:
        assert 7 == path.count("/"), path
        assert ".." not in path.split("/")
    assert "log-1/events/shop/2026/03/01/12/0-00000000000000000000-00000000000000000005.ndjson.zst" == paths[0]


def test_a_newer_manifest_is_refused_by_name(local: House) -> None:
    local.append(made(1))
    local.archiver().step(force=True)
    newer = msgspec.structs.replace(local.manifests()[0], format=manifest.FORMAT + 1)
    with pytest.raises(ConfigError, match="update headrace"):
        manifest.decode(manifest.encode(newer))
