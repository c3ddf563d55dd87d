-- Orders and revenue of a campaign are those that the last touch gives it.
with given as (
    select a.campaign_id, count(*) as orders, coalesce(sum(a.value), 0) as revenue
    from {{ source('headrace_email', 'attribution') }} as a
    where a.model = 'last' and a.goal = '{{ var("headrace_first_goal", "order_completed") }}'
    group by a.campaign_id
)

select c.campaign_id
from {{ source('headrace_email', 'campaigns') }} as c
left join given as g on g.campaign_id = c.campaign_id
where c.orders <> coalesce(g.orders, 0) or coalesce(c.revenue, 0) <> coalesce(g.revenue, 0)
