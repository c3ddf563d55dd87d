"""Google's own client against a server on loopback that answers as BigQuery's REST API is documented to: that it is called rightly, and that
what it raises is taken for what it is."""

from __future__ import annotations

import importlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pyarrow as pa
import pytest

import conftest
from headrace.warehouses._bigquery import JobError, JobExistsError, LostError
from headrace.warehouses._bigquery_jobs import GoogleJobs, _border
from made_loads import at

ROWS = [{"f": [{"v": "a"}, {"v": "1"}, {"v": "1772366401000000"}]}, {"f": [{"v": None}] * 3}]
FIELDS = [{"name": "id", "type": "STRING"}, {"name": "n", "type": "INTEGER"}, {"name": "t", "type": "TIMESTAMP"}]


class Api(BaseHTTPRequestHandler):
    """cloud.google.com/bigquery/docs/reference/rest: jobs.insert, jobs.get, jobs.getQueryResults, tables.delete."""

    protocol_version = "HTTP/1.1"
    jobs: ClassVar[dict[str, Any]] = {}
    asked: ClassVar[list[str]] = []

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, what: Any) -> None:
        raw = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _refuse(self, status: int, reason: str, said: str) -> None:
        errors = [{"reason": reason, "message": said}]
        self._answer(status, {"error": {"code": status, "message": said, "errors": errors}})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(f"POST {self.path.partition('?')[0]}")
        found = re.search(rb"\r\n\r\n(\{.*?\})\r\n", body, re.DOTALL) if "/upload/" in self.path else None
        job = json.loads(found[1] if found else body)
        sql = job["configuration"].get("query", {}).get("query", "")
        if "FORBIDDEN" in sql:
            self._refuse(403, "accessDenied", "Access Denied: bigquery.jobs.create")
            return
        id_ = job["jobReference"]["jobId"]
        if id_ in self.jobs:
            self._refuse(409, "duplicate", f"Already Exists: Job {id_}")
            return
        job["status"] = {"state": "DONE"}
        if "WRONG" in sql:
            job["status"]["errorResult"] = {"reason": "invalidQuery", "message": "Syntax error"}
        job["statistics"] = {"query": {"statementType": "SELECT", "numDmlAffectedRows": "3"}}
        self.jobs[id_] = job
        self._answer(200, job)

    def do_GET(self) -> None:
        kind, id_ = re.findall(r"/(jobs|queries)/([^/?]+)", self.path)[0]
        job = self.jobs.get(id_)
        if job is None:
            self._refuse(404, "notFound", f"Not found: Job {id_}")
        elif kind == "jobs":
            self._answer(200, job)
        else:
            done = {"jobComplete": True, "schema": {"fields": FIELDS}, "totalRows": "2", "numDmlAffectedRows": "3"}
            self._answer(200, {**done, "jobReference": job["jobReference"], "rows": ROWS})

    def do_DELETE(self) -> None:
        self.asked.append(f"DELETE {self.path.partition('?')[0]}")
        self._answer(200, {})


@pytest.fixture
def jobs() -> Iterator[GoogleJobs]:
    try:
        bigquery = importlib.import_module("google.cloud.bigquery")
        credentials = importlib.import_module("google.auth.credentials")
    except ImportError:
        conftest.missing("google-cloud-bigquery is not installed; `pip install google-cloud-bigquery` does it")
    Api.jobs.clear()
    Api.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = bigquery.Client(
        project="p",
        credentials=credentials.AnonymousCredentials(),
        client_options={"api_endpoint": f"http://127.0.0.1:{server.server_port}"},
    )
    yield GoogleJobs(client, "EU", 10_000_000)
    client.close()
    server.shutdown()
    server.server_close()


def test_a_job_is_started_once_under_its_name_and_waited_for(jobs: GoogleJobs) -> None:
    jobs.start_script("BEGIN TRANSACTION; COMMIT TRANSACTION;", "headrace_1")
    with pytest.raises(JobExistsError):
        jobs.start_script("BEGIN TRANSACTION; COMMIT TRANSACTION;", "headrace_1")
    assert jobs.wait("headrace_1") == 3
    assert Api.jobs["headrace_1"]["jobReference"]["location"] == "EU"


def test_a_load_job_fills_its_staged_table_anew(jobs: GoogleJobs) -> None:
    jobs.start_load(b"PAR1", "staged_1", [("c0", "STRING")], "headrace_2")
    with pytest.raises(JobExistsError):
        jobs.start_load(b"PAR1", "staged_1", [("c0", "STRING")], "headrace_2")
    assert jobs.wait("headrace_2") == 0
    told = Api.jobs["headrace_2"]["configuration"]["load"]
    table = {"projectId": "p", "datasetId": "headrace_staging", "tableId": "staged_1"}
    assert (table, "PARQUET", "WRITE_TRUNCATE") == (
        told["destinationTable"],
        told["sourceFormat"],
        told["writeDisposition"],
    )
    jobs.delete_staged("staged_1")
    assert Api.asked[-1].endswith("/datasets/headrace_staging/tables/staged_1")


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda jobs: jobs.start_script("FORBIDDEN", "headrace_3"), "accessDenied"),
        (lambda jobs: [jobs.start_script("WRONG", "headrace_4"), jobs.wait("headrace_4")], "invalidQuery"),
        (lambda jobs: jobs.wait("no such job"), "notFound"),
    ],
)
def test_a_job_that_failed_says_why(jobs: GoogleJobs, call: Callable[[GoogleJobs], Any], reason: str) -> None:
    with pytest.raises(JobError) as refused:
        call(jobs)
    assert reason == refused.value.reason


def test_a_server_that_is_not_there_is_no_answer(jobs: GoogleJobs) -> None:
    jobs._client._connection.API_BASE_URL = "http://127.0.0.1:9"
    with pytest.raises(LostError), _border():
        jobs._client.get_job("x", location="EU", retry=None, timeout=2)


def test_rows_come_in_blocks_with_their_types(jobs: GoogleJobs) -> None:
    reading = jobs.read("SELECT id, n, t FROM x", 1, 5.0)
    assert (["id", "n", "t"], ["STRING", "INTEGER", "TIMESTAMP"]) == (reading.names, reading.types)
    assert [pa.string(), pa.int64(), pa.timestamp("us", tz="UTC")] == reading.schema.types
    expected = [[{"id": "a", "n": 1, "t": at(1)}], [{"id": None, "n": None, "t": None}]]
    assert expected == [batch.to_pylist() for batch in reading.batches]
    told = next(iter(Api.jobs.values()))["configuration"]
    assert ("10000000", "5000") == (told["query"]["maximumBytesBilled"], told["jobTimeoutMs"])


def test_what_a_text_is_comes_from_a_dry_run(jobs: GoogleJobs) -> None:
    assert jobs.statement_type("SELECT 1") == "SELECT"
    assert next(iter(Api.jobs.values()))["configuration"]["dryRun"] is True
