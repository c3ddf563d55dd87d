-- Mails that count: test sends are left out.
select
    message_id,
    campaign_id,
    email_id,
    journey_id,
    send_number,
    source,
    recipient_key,
    person_key,
    is_matched,
    domain,
    sent_at,
    delivered_at,
    human_opened_at,
    human_clicked_at,
    is_sent,
    is_delivered,
    is_opened,
    is_human_opened,
    is_clicked,
    is_human_clicked,
    is_bounced,
    is_unsubscribed,
    is_complained,
    click_events
from {{ source('headrace_email', 'messages') }}
where not is_test
