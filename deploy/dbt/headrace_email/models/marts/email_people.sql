-- A person with a state: how long ago, counted from the last mail to anyone, they did something.
with last_mail as (
    select max(last_sent_at) as at from {{ source('headrace_email', 'recipients') }}
)

select
    r.recipient_key,
    r.is_matched,
    r.domain,
    r.first_sent_at,
    r.last_sent_at,
    r.delivered,
    r.human_opens,
    r.human_clicks,
    case
        when r.unsubscribed_at is not null or r.complained_at is not null then 'left'
        when r.hard_bounced_at is not null then 'unreachable'
        when r.last_human_opened_at is null then 'never active'
        when r.last_human_opened_at >= last_mail.at - interval '30' day then 'active'
        when r.last_human_opened_at >= last_mail.at - interval '90' day then 'fading'
        else 'asleep'
    end as state
from {{ source('headrace_email', 'recipients') }} as r
cross join last_mail
