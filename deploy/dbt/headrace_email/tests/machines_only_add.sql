-- There are never more people than people and machines.
select campaign_id
from {{ source('headrace_email', 'campaigns') }}
where human_clicks > clicks or human_clicks > human_opens
