-- A campaign with its label, and the rates that count machines beside those of people.
select
    c.campaign_id,
    c.campaign_name,
    coalesce(l.label, 'other') as label,
    c.sent,
    c.delivered,
    c.human_opens,
    c.human_clicks,
    c.orders,
    c.revenue,
    c.open_rate as open_rate_with_machines,
    c.human_open_rate,
    cast(c.clicks as double precision) / nullif(c.delivered, 0) as click_rate_with_machines,
    c.click_rate,
    c.conversion_rate,
    c.revenue_per_recipient
from {{ source('headrace_email', 'campaigns') }} as c
left join {{ source('headrace_email', 'labels') }} as l
    on l.campaign_id = c.campaign_id and l.label_set = '{{ var("headrace_label_set") }}'
