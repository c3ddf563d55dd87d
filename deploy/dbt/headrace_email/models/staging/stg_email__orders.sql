-- Each order with the message that the last touch gives it to, if any.
select
    c.conversion_key,
    c.order_id,
    c.happened_at,
    c.recipient_key,
    c.person_key,
    c.value,
    a.message_id,
    a.campaign_id,
    a.touch
from {{ source('headrace_email', 'conversions') }} as c
left join {{ source('headrace_email', 'attribution') }} as a
    on a.conversion_key = c.conversion_key and a.model = 'last'
where c.goal = 'order_completed'
