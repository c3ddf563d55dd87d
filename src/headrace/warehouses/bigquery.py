"""BigQuery: the team's own project, loaded by load jobs; a schema is a dataset."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import msgspec

from headrace.errors import ConfigError, HeadraceError
from headrace.warehouses.base import Finding, WarehouseKind, WarehouseSettings

if TYPE_CHECKING:
    from headrace.warehouses._bigquery import BigQuerySession
    from headrace.warehouses.base import Warehouse

DRIVER: Final = "pip install 'headrace[bigquery]'"


def _says(text: str, **more: Any) -> msgspec.Meta:
    return msgspec.Meta(description=text, **more)


class BigQuerySettings(WarehouseSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    project: Annotated[str, _says("The project's id; empty: that of the credentials.")] = ""
    location: Annotated[str, _says("Where datasets are created and jobs run, for example EU or europe-west1.")] = "EU"
    credentials: Annotated[
        str,
        _says(
            "A service account's key, the whole JSON; empty: the credentials of this machine (ADC).",
            extra={"secret": True},
        ),
    ] = ""
    query_bytes: Annotated[
        int, _says("A query of a user may read this many bytes, which BigQuery bills; 0 is no limit.", ge=0)
    ] = 0
    interval_seconds: Annotated[
        float,
        _says(
            "How long to wait from one load to the next while little is waiting. Each load is some jobs, which are counted and billed.",
            ge=0,
        ),
    ] = 60.0


class BigQueryKind(WarehouseKind):
    title = "BigQuery"
    summary = (
        "Datasets in your Google Cloud project; rows by load jobs, which cost nothing, and one transaction a load."
    )
    docs_url = "https://cloud.google.com/bigquery/docs"
    guarantee = "transactional"
    tried = (
        "not yet tried on a live account: the SQL is parsed in BigQuery's grammar, and the order of jobs is tried against a stand-in that "
        "loses answers and fails at each step"
    )
    setup = (
        "gcloud iam service-accounts create headrace",
        "gcloud projects add-iam-policy-binding PROJECT --member=serviceAccount:headrace@PROJECT.iam.gserviceaccount.com --role=roles/bigquery.user",
        "Roles on the project: roles/bigquery.user runs jobs and creates datasets, whose owner the account then is.",
        "gcloud iam service-accounts keys create headrace.json --iam-account=headrace@PROJECT.iam.gserviceaccount.com",
    )
    Settings = BigQuerySettings

    @property
    def pace_seconds(self) -> float:
        return cast("BigQuerySettings", self.settings).interval_seconds

    def open(self) -> Warehouse:
        from headrace.warehouses._deferred import DeferredWarehouse  # noqa: PLC0415 - heavy

        self._client().close()  # wrong settings are said now
        return DeferredWarehouse(self._dialect(), self._session)

    def _dialect(self) -> Any:
        from headrace.warehouses._bigquery_dialect import BigQueryDialect  # noqa: PLC0415 - heavy

        settings = cast("BigQuerySettings", self.settings)
        return BigQueryDialect(settings.project, settings.location)

    def _session(self) -> BigQuerySession:
        from headrace.warehouses._bigquery import BigQuerySession  # noqa: PLC0415 - heavy
        from headrace.warehouses._bigquery_jobs import GoogleJobs  # noqa: PLC0415 - heavy

        settings = cast("BigQuerySettings", self.settings)
        return BigQuerySession(self._dialect(), GoogleJobs(self._client(), settings.location, settings.query_bytes))

    def _client(self) -> Any:
        """Raises ConfigError where the driver is not installed, or the credentials are none."""
        settings = cast("BigQuerySettings", self.settings)
        where = f"warehouse {self.place.slug}"
        if not settings.location:
            raise ConfigError(f"{where}: BigQuery needs a location, for example EU")
        try:
            bigquery = importlib.import_module("google.cloud.bigquery")
            service_account = importlib.import_module("google.oauth2.service_account")
            exceptions = importlib.import_module("google.auth.exceptions")
        except ImportError as error:
            raise ConfigError(f"{where}: BigQuery's driver is not installed: {DRIVER}") from error
        try:
            if not settings.credentials:
                return bigquery.Client(project=settings.project or None, location=settings.location)
            key = json.loads(settings.credentials)
            credentials = service_account.Credentials.from_service_account_info(
                key, scopes=["https://www.googleapis.com/auth/cloud-platform"]
            )
        except exceptions.DefaultCredentialsError as error:
            raise ConfigError(
                f"{where}: this machine has no Google credentials; set `credentials` to a service account's key"
            ) from error
        except (OSError, ValueError, TypeError, AttributeError) as error:
            # Not the error's text: it may hold parts of the key.
            raise ConfigError(f"{where}: `credentials` is no service account's key in JSON") from error
        return bigquery.Client(project=settings.project or credentials.project_id, credentials=credentials)

    def check(self) -> Sequence[Finding]:
        found: list[Finding] = []
        for finding in self._findings():
            found.append(finding)
            if not finding.ok:
                break
        return found

    def _findings(self) -> Iterator[Finding]:
        settings = cast("BigQuerySettings", self.settings)
        try:
            session = self._session()
        except ConfigError as error:
            yield Finding("settings", False, str(error), DRIVER if "not installed" in str(error) else str(error))
            return
        try:
            yield from checked(session, settings)
        finally:
            session.close()


def checked(session: BigQuerySession, settings: BigQuerySettings) -> Iterator[Finding]:
    """Network and login show with the first job, then rights. The dataset that is made is removed again."""
    project = settings.project or "PROJECT"
    user = f"gcloud projects add-iam-policy-binding {project} --member=serviceAccount:... --role=roles/bigquery.user"
    editor = "GRANT `roles/bigquery.dataEditor` ON SCHEMA headrace_check TO 'serviceAccount:...';"
    location = session.dialect.text(settings.location)
    steps = (
        ("login", "SELECT 1", "check the network, `credentials` and `project`"),
        ("privilege", "CREATE TEMP TABLE t AS SELECT 1 AS number", user),
        ("schema", f"CREATE SCHEMA IF NOT EXISTS `headrace_check` OPTIONS(location = {location})", user),
        ("write", "CREATE OR REPLACE TABLE `headrace_check`.`written` AS SELECT 1 AS number", editor),
    )
    try:
        for step, statement, remedy in steps:
            try:
                session.execute(statement)
            except (HeadraceError, ValueError) as error:
                yield Finding(step, False, str(error), remedy)
                return
            yield Finding(step, True, f"{statement.partition(' OPTIONS')[0]} works")
    finally:
        with suppress(HeadraceError, ValueError):
            session.execute("DROP SCHEMA IF EXISTS `headrace_check` CASCADE")
