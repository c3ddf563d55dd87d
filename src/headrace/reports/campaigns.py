"""What each campaign did, in one SELECT over the raw event tables of an e-mail source and a shop, for DuckDB.

The first report, and no more than that: it reads every raw event each time, knows one platform's event names, counts a journey's
mail to the same recipient once, and flags machine clicks by three rules. The model `email` of a later release replaces it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from headrace.warehouses.base import TableName

COLUMNS: Final = (
    "campaign_id",
    "campaign_name",
    "sent",
    "delivered",
    "opens",
    "human_opens",
    "clicks",
    "human_clicks",
    "bounces",
    "unsubscribes",
    "spam",
    "orders",
    "revenue",
)

_TABLES_BY_KIND: Final = {
    "delivered": ("email_delivered",),
    "opened": ("email_opened",),
    "clicked": ("email_link_clicked",),
    "bounced": ("email_bounced",),
    "unsubscribed": ("email_unsubscribed", "unsubscribed"),
    "complained": ("email_marked_as_spam",),
}
_ORDERS_TABLE: Final = "order_completed"

_MAIL_COLUMNS: Final = {
    "campaign_id": "VARCHAR",
    "campaign_name": "VARCHAR",
    "timestamp": "TIMESTAMPTZ",
    "machine_open": "BOOLEAN",
    "link_id": "VARCHAR",
    "link_url": "VARCHAR",
    "context_user_agent": "VARCHAR",
}
_ORDER_COLUMNS: Final = {"id": "VARCHAR", "order_id": "VARCHAR", "timestamp": "TIMESTAMPTZ", "total": "DOUBLE"}
_PERSON_COLUMNS: Final = ("user_id", "context_traits_email", "anonymous_id")

_REPORT: Final = """
clicks AS (
    SELECT *, count(DISTINCT coalesce(link_id, link_url)) OVER (
        PARTITION BY campaign_id, email_id, recipient ORDER BY timestamp
        RANGE BETWEEN INTERVAL 2 SECONDS PRECEDING AND INTERVAL 2 SECONDS FOLLOWING) AS links_at_once
    FROM mail WHERE kind = 'clicked'
),
human_clicks AS (
    SELECT * FROM clicks AS click
    WHERE links_at_once < 3
        AND NOT regexp_matches(coalesce(lower(context_user_agent), ''), 'barracuda|proofpoint|mimecast|ciscosecureemail|tmes')
        AND NOT EXISTS (
            SELECT 1 FROM mail AS delivery
            WHERE delivery.kind = 'delivered' AND delivery.campaign_id = click.campaign_id
                AND delivery.email_id = click.email_id AND delivery.recipient = click.recipient
                AND click.timestamp > delivery.timestamp - INTERVAL 5 MINUTES
                AND click.timestamp < delivery.timestamp + INTERVAL 10 SECONDS)
),
touches AS (
    SELECT 'click' AS touch, campaign_id, email_id, recipient, timestamp FROM human_clicks
    UNION ALL
    SELECT 'open', campaign_id, email_id, recipient, timestamp FROM mail
    WHERE kind = 'opened' AND NOT coalesce(machine_open, false)
),
messages AS (
    SELECT campaign_id, email_id, recipient,
        min(timestamp) FILTER (kind = 'delivered') AS delivered_at,
        max(timestamp) FILTER (kind = 'bounced') AS bounced_at,
        max(timestamp) FILTER (kind IN ('opened', 'clicked')) AS active_at,
        bool_or(kind = 'opened') AS opened,
        bool_or(kind = 'clicked') AS clicked,
        bool_or(kind = 'unsubscribed') AS unsubscribed,
        bool_or(kind = 'complained') AS complained
    FROM mail GROUP BY ALL
),
people AS (
    SELECT campaign_id, email_id, recipient, bool_or(touch = 'click') AS clicked FROM touches GROUP BY ALL
),
attributed AS (
    SELECT placed.total, touches.campaign_id
    FROM placed JOIN touches ON touches.recipient = placed.recipient
        AND touches.timestamp <= placed.timestamp
        AND touches.timestamp >= placed.timestamp - CASE touch WHEN 'click' THEN INTERVAL 5 DAYS ELSE INTERVAL 1 DAY END
    QUALIFY row_number() OVER (PARTITION BY placed.order_key ORDER BY touch = 'click' DESC, touches.timestamp DESC) = 1
),
counted AS (
    SELECT message.campaign_id,
        count(*) FILTER (delivered_at IS NOT NULL OR bounced_at IS NOT NULL) AS sent,
        count(*) FILTER (
            delivered_at IS NOT NULL AND coalesce(bounced_at <= delivered_at, true) OR active_at > bounced_at
        ) AS delivered,
        count(*) FILTER (opened) AS opens,
        count(people.recipient) AS human_opens,
        count(*) FILTER (message.clicked) AS clicks,
        count(*) FILTER (people.clicked) AS human_clicks,
        count(*) FILTER (bounced_at IS NOT NULL) AS bounces,
        count(*) FILTER (unsubscribed) AS unsubscribes,
        count(*) FILTER (complained) AS spam,
        min(delivered_at) AS first_delivered_at
    FROM messages AS message LEFT JOIN people
        ON people.campaign_id = message.campaign_id AND people.email_id = message.email_id
        AND people.recipient = message.recipient
    GROUP BY message.campaign_id
),
names AS (
    SELECT campaign_id, arg_max(campaign_name, timestamp) AS campaign_name FROM mail GROUP BY campaign_id
),
sales AS (
    SELECT campaign_id, count(*) AS orders, sum(total) AS revenue FROM attributed GROUP BY campaign_id
)
SELECT campaign_id, campaign_name, sent, delivered, opens, human_opens, clicks, human_clicks, bounces, unsubscribes, spam,
    coalesce(orders, 0) AS orders, round(coalesce(revenue, 0), 2) AS revenue
FROM counted JOIN names USING (campaign_id) LEFT JOIN sales USING (campaign_id)
ORDER BY first_delivered_at NULLS LAST, campaign_id
"""


def campaigns_sql(
    email_schema: str, shop_schema: str | None, columns_by_table: Mapping[TableName, Collection[str]]
) -> str:
    """A row for each campaign with the columns COLUMNS; `columns_by_table` is what the warehouse has (its `tables()`).

    Tables and columns that are not there yet count as empty. Counts are distinct messages (campaign, e-mail, recipient).
    Human opens are those without `machine_open`, and human clicks without an open. Not human are clicks less than 10 s after
    delivery, on three links within 2 s, or by a known scanner. An order belongs to its recipient's last human click within 5 days
    before it, else to the last human open within 1 day."""
    mail = [
        _mail_select(TableName(email_schema, table), kind, columns_by_table[TableName(email_schema, table)])
        for kind, tables in _TABLES_BY_KIND.items()
        for table in tables
        if TableName(email_schema, table) in columns_by_table
    ]
    orders = TableName(shop_schema or "", _ORDERS_TABLE)
    placed = _orders_select(orders, columns_by_table[orders]) if orders in columns_by_table else _nothing(_ORDER_OUT)
    union = "\n    UNION ALL\n    ".join(mail) if mail else _nothing(_MAIL_OUT)
    return f"WITH mail AS (\n    {union}\n),\nplaced AS (\n    {placed}\n),{_REPORT}"


_MAIL_OUT: Final = {"kind": "VARCHAR", "recipient": "VARCHAR", "email_id": "VARCHAR", **_MAIL_COLUMNS}
_ORDER_OUT: Final = {"order_key": "VARCHAR", "recipient": "VARCHAR", "timestamp": "TIMESTAMPTZ", "total": "DOUBLE"}


def _mail_select(table: TableName, kind: str, there: Collection[str]) -> str:
    columns = ", ".join(_column(name, type_, there) for name, type_ in _MAIL_COLUMNS.items())
    email_id = f"coalesce({_value('email_id', 'VARCHAR', there)}, '') AS email_id"
    return (
        f"SELECT '{kind}' AS kind, {_recipient(there)} AS recipient, {email_id}, {columns} FROM {_quoted(table)} "  # noqa: S608 -- names are quoted
        f"WHERE {_value('campaign_id', 'VARCHAR', there)} IS NOT NULL AND {_recipient(there)} IS NOT NULL"
    )


def _orders_select(table: TableName, there: Collection[str]) -> str:
    """One row an order, should the shop have sent it under two messageIds."""
    order_id, row_id = (_value(name, _ORDER_COLUMNS[name], there) for name in ("order_id", "id"))
    columns = ", ".join(_column(name, _ORDER_COLUMNS[name], there) for name in ("timestamp", "total"))
    return (
        f"SELECT coalesce({order_id}, {row_id}) AS order_key, {_recipient(there)} AS recipient, {columns} "  # noqa: S608 -- names are quoted
        f"FROM {_quoted(table)} QUALIFY row_number() OVER (PARTITION BY order_key ORDER BY timestamp) = 1"
    )


def _recipient(there: Collection[str]) -> str:
    user_id, email, anonymous_id = (_value(name, "VARCHAR", there) for name in _PERSON_COLUMNS)
    return f"coalesce({user_id}, lower({email}), lower({anonymous_id}))"


def _column(name: str, type_: str, there: Collection[str]) -> str:
    return f"{_value(name, type_, there)} AS {_quote(name)}"


def _value(name: str, type_: str, there: Collection[str]) -> str:
    """The column as that type; NULL where the table lacks it or a value is something else."""
    return f"TRY_CAST({_quote(name)} AS {type_})" if name in there else f"CAST(NULL AS {type_})"


def _nothing(columns: Mapping[str, str]) -> str:
    return f"SELECT {', '.join(_column(name, type_, ()) for name, type_ in columns.items())} WHERE false"


def _quoted(table: TableName) -> str:
    return f"{_quote(table.schema)}.{_quote(table.table)}"


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
