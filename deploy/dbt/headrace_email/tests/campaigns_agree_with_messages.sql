-- The counts of a campaign are those of its messages.
with counted as (
    select
        campaign_id,
        count(*) filter (where is_sent) as sent,
        count(*) filter (where is_delivered) as delivered,
        count(*) filter (where is_opened) as opens,
        count(*) filter (where is_human_opened) as human_opens,
        count(*) filter (where is_clicked) as clicks,
        count(*) filter (where is_human_clicked) as human_clicks,
        count(*) filter (where is_bounced) as bounces,
        count(*) filter (where is_unsubscribed) as unsubscribes,
        count(*) filter (where is_complained) as spam
    from {{ source('headrace_email', 'messages') }}
    where not is_test
    group by campaign_id
)

select coalesce(c.campaign_id, m.campaign_id) as campaign_id
from {{ source('headrace_email', 'campaigns') }} as c
full join counted as m on m.campaign_id = c.campaign_id
where
    c.sent is distinct from m.sent
    or c.delivered is distinct from m.delivered
    or c.opens is distinct from m.opens
    or c.human_opens is distinct from m.human_opens
    or c.clicks is distinct from m.clicks
    or c.human_clicks is distinct from m.human_clicks
    or c.bounces is distinct from m.bounces
    or c.unsubscribes is distinct from m.unsubscribes
    or c.spam is distinct from m.spam
