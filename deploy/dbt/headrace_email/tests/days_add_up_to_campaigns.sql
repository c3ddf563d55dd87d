-- Whatever day a message's events fell on, they count once.
with days as (
    select
        campaign_id,
        sum(delivered) as delivered,
        sum(human_opens) as human_opens,
        sum(human_clicks) as human_clicks,
        sum(unsubscribes) as unsubscribes
    from {{ source('headrace_email', 'campaigns_daily') }}
    group by campaign_id
)

select c.campaign_id
from {{ source('headrace_email', 'campaigns') }} as c
left join days as d on d.campaign_id = c.campaign_id
where
    c.delivered <> coalesce(d.delivered, 0)
    or c.human_opens <> coalesce(d.human_opens, 0)
    or c.human_clicks <> coalesce(d.human_clicks, 0)
    or c.unsubscribes <> coalesce(d.unsubscribes, 0)
