-- Weeks from Monday, UTC, by when mails were sent. Each step is part of the one before it.
with ordered as (
    select message_id, count(*) as orders, sum(value) as revenue
    from {{ ref('stg_email__orders') }}
    where touch = 'click'
    group by message_id
)

select
    cast(date_trunc('week', m.sent_at at time zone 'UTC') as date) as week,
    count(*) as delivered,
    count(*) filter (where m.is_human_opened) as opened,
    count(*) filter (where m.is_human_clicked) as clicked,
    count(o.message_id) as clicked_and_ordered,
    coalesce(sum(o.revenue), 0) as revenue_of_clickers
from {{ ref('stg_email__messages') }} as m
left join ordered as o on o.message_id = m.message_id and m.is_human_clicked
where m.is_delivered
group by 1
