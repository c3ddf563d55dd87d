/** Questions to begin with: recipes of docs/recipes.md that need no schema of one's own. A test keeps them as they stand there. */

export interface Example {
  title: string
  sql: string
}

export const EXAMPLES: readonly Example[] = [
  {
    title: 'Which campaigns led to orders, without bots?',
    sql: `SELECT campaign_id, campaign_name, delivered, human_opens, human_clicks, orders, revenue, conversion_rate, revenue_per_recipient
FROM email.campaigns
WHERE orders > 0
ORDER BY revenue DESC, campaign_id`,
  },
  {
    title: 'How far off would the rates be that count machines?',
    sql: `SELECT c.campaign_id, c.campaign_name, c.open_rate, c.human_open_rate,
       CAST(c.clicks AS double precision) / nullif(c.delivered, 0) AS click_rate_with_machines,
       c.click_rate,
       CAST(m.click_events AS double precision) / nullif(c.delivered, 0) AS clicks_counted
FROM email.campaigns c
JOIN (SELECT campaign_id, sum(click_events) AS click_events FROM email.messages WHERE NOT is_test GROUP BY campaign_id) m
  ON m.campaign_id = c.campaign_id
ORDER BY c.campaign_id`,
  },
  {
    title: 'Of two campaigns, was one really better?',
    sql: `WITH two AS (
    SELECT campaign_id, delivered, human_clicks, click_rate, row_number() OVER (ORDER BY delivered DESC, campaign_id) AS place
    FROM email.campaigns WHERE delivered > 0
), side AS (
    SELECT a.campaign_id AS first_campaign, b.campaign_id AS second_campaign,
           a.click_rate AS first_rate, b.click_rate AS second_rate, a.delivered AS n1, b.delivered AS n2,
           CAST(a.human_clicks + b.human_clicks AS double precision) / (a.delivered + b.delivered) AS pooled
    FROM two a JOIN two b ON a.place = 1 AND b.place = 2
)
SELECT first_campaign, second_campaign, first_rate, second_rate, first_rate - second_rate AS difference,
       (first_rate - second_rate) / nullif(sqrt(pooled * (1 - pooled) * (CAST(1 AS double precision) / n1 + CAST(1 AS double precision) / n2)), 0) AS z
FROM side`,
  },
  {
    title: 'What does a recipient bring, by kind of campaign?',
    sql: `SELECT l.label, count(*) AS campaigns, sum(c.delivered) AS delivered, sum(c.orders) AS orders, sum(c.revenue) AS revenue,
       CAST(sum(c.revenue) AS double precision) / nullif(CAST(sum(c.delivered) AS double precision), 0) AS revenue_per_recipient
FROM email.campaigns c
JOIN email.labels l ON l.campaign_id = c.campaign_id AND l.label_set = 'type'
GROUP BY l.label
ORDER BY l.label`,
  },
  {
    title: 'Where do people leave, from delivery to order?',
    sql: `SELECT m.campaign_id,
       count(*) AS delivered,
       count(*) FILTER (WHERE m.is_human_opened) AS opened,
       count(*) FILTER (WHERE m.is_human_clicked) AS clicked,
       count(a.message_id) AS orders_of_clickers
FROM email.messages m
LEFT JOIN (SELECT DISTINCT message_id FROM email.attribution WHERE model = 'last' AND goal = 'order_completed' AND touch = 'click') a
  ON a.message_id = m.message_id AND m.is_human_clicked
WHERE m.is_delivered AND NOT m.is_test
GROUP BY m.campaign_id
ORDER BY m.campaign_id`,
  },
  {
    title: 'Which links do people click?',
    sql: `SELECT l.campaign_id, c.campaign_name, l.link, l.link_url, l.human_clicks, l.clicks - l.human_clicks AS machines_only,
       CAST(l.human_clicks AS double precision) / nullif(c.human_clicks, 0) AS share_of_clickers
FROM email.links l
JOIN email.campaigns c ON c.campaign_id = l.campaign_id
ORDER BY l.campaign_id, l.human_clicks DESC, l.link`,
  },
  {
    title: "How do a journey's mails fare, the first and the ones after it?",
    sql: `SELECT journey_id, campaign_id, send_number,
       count(*) FILTER (WHERE is_sent) AS sent,
       count(*) FILTER (WHERE is_delivered) AS delivered,
       CAST(count(*) FILTER (WHERE is_human_opened) AS double precision) / nullif(count(*) FILTER (WHERE is_delivered), 0) AS human_open_rate,
       CAST(count(*) FILTER (WHERE is_human_clicked) AS double precision) / nullif(count(*) FILTER (WHERE is_delivered), 0) AS click_rate
FROM email.messages
WHERE journey_id IS NOT NULL AND NOT is_test
GROUP BY journey_id, campaign_id, send_number
ORDER BY journey_id, campaign_id, send_number`,
  },
  {
    title: 'How fast is a campaign read?',
    sql: `SELECT campaign_id, hour, human_opens,
       CAST(sum(human_opens) OVER (PARTITION BY campaign_id ORDER BY hour) AS double precision)
         / nullif(CAST(sum(human_opens) OVER (PARTITION BY campaign_id) AS double precision), 0) AS share_so_far
FROM email.engagement_curve
ORDER BY campaign_id, hour`,
  },
  {
    title: 'Which hour is best to send?',
    sql: `SELECT CAST(extract(hour FROM delivered_at AT TIME ZONE 'Europe/Brussels') AS integer) AS hour_of_day,
       count(*) AS delivered,
       CAST(count(*) FILTER (WHERE is_human_opened) AS double precision) / count(*) AS human_open_rate,
       CAST(count(*) FILTER (WHERE is_human_clicked) AS double precision) / count(*) AS click_rate
FROM email.messages
WHERE is_delivered AND NOT is_test AND delivered_at IS NOT NULL
GROUP BY 1
ORDER BY 1`,
  },
  {
    title: 'At which hour do people open?',
    sql: `SELECT CAST(extract(isodow FROM happened_at AT TIME ZONE 'Europe/Brussels') AS integer) AS day_of_week,
       CAST(extract(hour FROM happened_at AT TIME ZONE 'Europe/Brussels') AS integer) AS hour_of_day,
       count(*) AS opens, count(DISTINCT person_key) AS people
FROM email.events
WHERE kind = 'opened' AND NOT is_machine AND NOT is_test
GROUP BY 1, 2
ORDER BY 1, 2`,
  },
  {
    title: 'How do campaigns stand by day of sending, in my time zone?',
    sql: `SELECT CAST(sent_quarter AT TIME ZONE 'Europe/Brussels' AS date) AS day,
       sum(sent) AS sent, sum(delivered) AS delivered, sum(human_opens) AS human_opens, sum(human_clicks) AS human_clicks,
       sum(orders) AS orders, sum(revenue) AS revenue
FROM email.campaign_sends
GROUP BY 1
ORDER BY 1`,
  },
  {
    title: 'How long does it take from the mail to the order?',
    sql: `SELECT campaign_id, count(*) AS orders,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY CAST(extract(epoch FROM (happened_at - sent_at)) AS double precision)) / 3600 AS median_hours,
       percentile_cont(0.9) WITHIN GROUP (ORDER BY CAST(extract(epoch FROM (happened_at - sent_at)) AS double precision)) / 3600 AS p90_hours
FROM email.attribution
WHERE model = 'last' AND goal = 'order_completed'
GROUP BY campaign_id
ORDER BY campaign_id`,
  },
  {
    title: 'How many people are active on a day?',
    sql: `WITH active AS (
    SELECT DISTINCT CAST(happened_at AT TIME ZONE 'UTC' AS date) AS day, person_key
    FROM email.events
    WHERE kind IN ('opened', 'clicked') AND NOT is_machine AND NOT is_test
), days AS (SELECT day, count(*) AS people FROM active GROUP BY day)
SELECT d.day, d.people, count(DISTINCT a.person_key) AS people_of_7_days
FROM days d
JOIN active a ON a.day > d.day - 7 AND a.day <= d.day
GROUP BY d.day, d.people
ORDER BY d.day`,
  },
  {
    title: 'How do first and last touch differ?',
    sql: `SELECT campaign_id,
       count(*) FILTER (WHERE model = 'first') AS first_orders,
       count(*) FILTER (WHERE model = 'last') AS last_orders,
       count(*) FILTER (WHERE model = 'any') AS any_orders,
       coalesce(sum(value) FILTER (WHERE model = 'first'), 0) AS first_revenue,
       coalesce(sum(value) FILTER (WHERE model = 'last'), 0) AS last_revenue,
       coalesce(sum(value) FILTER (WHERE model = 'first'), 0) - coalesce(sum(value) FILTER (WHERE model = 'last'), 0) AS first_minus_last
FROM email.attribution
WHERE goal = 'order_completed'
GROUP BY campaign_id
ORDER BY campaign_id`,
  },
  {
    title: 'How many orders has no e-mail a claim to?',
    sql: `SELECT coalesce(a.touch, 'none') AS touch, count(*) AS orders, sum(c.value) AS revenue,
       CAST(count(*) AS double precision) / CAST(sum(count(*)) OVER () AS double precision) AS share
FROM email.conversions c
LEFT JOIN email.attribution a ON a.conversion_key = c.conversion_key AND a.model = 'last'
WHERE c.goal = 'order_completed'
GROUP BY 1
ORDER BY 1`,
  },
  {
    title: 'What did the mails add to orders? (a holdout group)',
    sql: `WITH people AS (
    SELECT person_key, bool_or(is_holdout) AS is_holdout FROM email.controls GROUP BY person_key
), bought AS (
    SELECT person_key, count(*) AS orders, sum(value) AS revenue
    FROM email.conversions
    WHERE goal = 'order_completed' AND happened_at >= (SELECT min(sent_at) FROM email.messages WHERE NOT is_test)
    GROUP BY person_key
), sides AS (
    SELECT p.is_holdout, count(*) AS people, count(b.person_key) AS buyers, coalesce(sum(b.orders), 0) AS orders, coalesce(sum(b.revenue), 0) AS revenue,
           CAST(count(b.person_key) AS double precision) / count(*) AS conversion
    FROM people p LEFT JOIN bought b ON b.person_key = p.person_key
    GROUP BY p.is_holdout
)
SELECT is_holdout, people, buyers, orders, revenue, conversion,
       conversion / nullif(max(conversion) FILTER (WHERE is_holdout) OVER (), 0) - 1 AS lift
FROM sides
ORDER BY is_holdout`,
  },
  {
    title: 'Who clicks and does not buy?',
    sql: `SELECT r.recipient_key, r.email, r.human_clicks, r.last_human_clicked_at
FROM email.recipients r
WHERE r.human_clicks > 0
  AND r.unsubscribed_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM email.conversions c WHERE c.person_key = r.person_key AND c.goal = 'order_completed')
ORDER BY r.human_clicks DESC, r.recipient_key`,
  },
  {
    title: 'Who never opens? (a list to win back, or to let go)',
    sql: `SELECT recipient_key, email, delivered, first_sent_at, last_sent_at
FROM email.recipients
WHERE delivered >= 3 AND human_opens = 0
  AND unsubscribed_at IS NULL AND complained_at IS NULL AND hard_bounced_at IS NULL
ORDER BY delivered DESC, recipient_key`,
  },
  {
    title: 'How many recipients are known to other systems?',
    sql: `SELECT is_matched, count(*) AS people, sum(delivered) AS delivered, sum(human_clicks) AS human_clicks,
       CAST(count(*) AS double precision) / CAST(sum(count(*)) OVER () AS double precision) AS share
FROM email.recipients
GROUP BY is_matched
ORDER BY is_matched`,
  },
  {
    title: 'Do people stay? (cohorts by the month of the first mail)',
    sql: `WITH people AS (
    SELECT person_key, CAST(date_trunc('month', first_sent_at AT TIME ZONE 'UTC') AS date) AS cohort FROM email.recipients
), sizes AS (SELECT cohort, count(*) AS people FROM people GROUP BY cohort)
SELECT p.cohort, CAST(date_trunc('month', m.human_opened_at AT TIME ZONE 'UTC') AS date) AS month,
       s.people, count(DISTINCT m.person_key) AS active,
       CAST(count(DISTINCT m.person_key) AS double precision) / s.people AS share
FROM people p
JOIN sizes s ON s.cohort = p.cohort
JOIN email.messages m ON m.person_key = p.person_key AND m.is_human_opened AND NOT m.is_test
GROUP BY 1, 2, 3
ORDER BY 1, 2`,
  },
  {
    title: 'Do we mail too much?',
    sql: `WITH weeks AS (
    SELECT person_key, CAST(date_trunc('week', sent_at AT TIME ZONE 'UTC') AS date) AS week,
           count(*) AS mails,
           max(CASE WHEN is_unsubscribed OR is_complained THEN 1 ELSE 0 END) AS has_left
    FROM email.messages
    WHERE is_delivered AND NOT is_test
    GROUP BY 1, 2
)
SELECT mails, count(*) AS people_weeks, sum(has_left) AS who_left, CAST(sum(has_left) AS double precision) / count(*) AS share
FROM weeks
GROUP BY mails
ORDER BY mails`,
  },
  {
    title: 'On what do people read?',
    sql: `SELECT device, count(*) AS messages, CAST(count(*) AS double precision) / CAST(sum(count(*)) OVER () AS double precision) AS share,
       CAST(count(*) FILTER (WHERE is_human_clicked) AS double precision) / count(*) AS click_to_open_rate
FROM email.messages
WHERE is_human_opened AND NOT is_test
GROUP BY device
ORDER BY device`,
  },
  {
    title: 'What happened to one person?',
    sql: `WITH who AS (SELECT recipient_key FROM email.recipients ORDER BY human_clicks DESC, recipient_key LIMIT 1)
SELECT e.happened_at, e.kind, e.campaign_id, e.send_number, e.link, e.is_machine, e.machine_reasons, e.source, e.id
FROM email.events e
JOIN who ON who.recipient_key = e.recipient_key
ORDER BY e.happened_at, e.kind, e.id`,
  },
  {
    title: 'Which domains give trouble?',
    sql: `WITH every_domain AS (
    SELECT domain, sum(sent) AS sent, sum(delivered) AS delivered, sum(bounces) AS bounces, sum(spam) AS spam, sum(human_opens) AS human_opens
    FROM email.domains WHERE domain <> '' GROUP BY domain
), rates AS (
    SELECT domain, sent, delivered, bounces, spam,
           CAST(bounces AS double precision) / nullif(CAST(sent AS double precision), 0) AS bounce_rate,
           CAST(human_opens AS double precision) / nullif(CAST(delivered AS double precision), 0) AS human_open_rate,
           CAST(sum(human_opens) OVER () AS double precision) / nullif(CAST(sum(delivered) OVER () AS double precision), 0) AS rate_of_all
    FROM every_domain
)
SELECT domain, sent, delivered, bounces, spam, bounce_rate, human_open_rate, human_open_rate - rate_of_all AS against_all
FROM rates
WHERE sent >= 20 AND (bounce_rate >= 0.1 OR human_open_rate < rate_of_all * 0.9 OR spam > 0)
ORDER BY bounce_rate DESC, domain`,
  },
  {
    title: 'Why do mails bounce?',
    sql: `SELECT campaign_id, coalesce(bounce_type, 'unknown') AS bounce_type, coalesce(bounce_code, '') AS bounce_code,
       count(*) AS bounces, count(DISTINCT person_key) AS people
FROM email.events
WHERE kind = 'bounced' AND NOT is_test
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3`,
  },
  {
    title: 'Which campaigns come near the limits for spam?',
    sql: `SELECT campaign_id, campaign_name, delivered, spam, spam_rate,
       CASE WHEN spam_rate >= 0.003 THEN 'alarm' WHEN spam_rate >= 0.001 THEN 'warning' ELSE 'fine' END AS state
FROM email.campaigns
WHERE delivered > 0
ORDER BY spam_rate DESC, campaign_id`,
  },
  {
    title: 'Who unsubscribes, by campaign and day?',
    sql: `SELECT d.campaign_id, c.campaign_name, d.day, d.unsubscribes, d.spam,
       sum(d.unsubscribes) OVER (PARTITION BY d.campaign_id ORDER BY d.day) AS unsubscribes_so_far
FROM email.campaigns_daily d
JOIN email.campaigns c ON c.campaign_id = d.campaign_id
WHERE d.unsubscribes > 0 OR d.spam > 0
ORDER BY d.campaign_id, d.day`,
  },
  {
    title: 'Does the list grow or shrink?',
    sql: `SELECT source, CAST(date_trunc('week', CAST(day AS timestamp)) AS date) AS week,
       sum(delivered) AS delivered, sum(subscribes) AS subscribes, sum(unsubscribes) AS unsubscribes, sum(spam) AS spam, sum(hard_bounces) AS hard_bounces,
       sum(unsubscribes + spam + hard_bounces) AS lost, sum(subscribes - unsubscribes - spam - hard_bounces) AS net
FROM email.list_health
GROUP BY 1, 2
ORDER BY 1, 2`,
  },
  {
    title: 'Why was something taken for a machine?',
    sql: `WITH reasons AS (
    SELECT campaign_id, message_id, unnest(string_to_array(machine_reasons, ',')) AS reason
    FROM email.messages
    WHERE machine_reasons IS NOT NULL AND NOT is_test
)
SELECT campaign_id, reason, count(DISTINCT message_id) AS messages
FROM reasons
GROUP BY campaign_id, reason
ORDER BY campaign_id, reason`,
  },
  {
    title: 'How good is the data itself?',
    sql: `SELECT source, sum(events) AS events,
       CAST(sum(late_events) AS double precision) / nullif(CAST(sum(events) AS double precision), 0) AS late,
       CAST(sum(without_campaign) AS double precision) / nullif(CAST(sum(events) AS double precision), 0) AS without_campaign,
       CAST(sum(without_address) AS double precision) / nullif(CAST(sum(events) AS double precision), 0) AS without_address,
       CAST(sum(unmatched_events) AS double precision) / nullif(CAST(sum(events) AS double precision), 0) AS unmatched,
       sum(test_events) AS test_events, sum(machine_opens) AS machine_opens, sum(machine_clicks) AS machine_clicks
FROM email.quality
GROUP BY source
ORDER BY source`,
  },
  {
    title: "When may I call a campaign's figures final?",
    sql: `SELECT e.campaign_id, count(*) AS human_events,
       CAST(count(*) FILTER (WHERE e.received_at <= m.sent_at + INTERVAL '1' DAY) AS double precision) / count(*) AS within_1_day,
       CAST(count(*) FILTER (WHERE e.received_at <= m.sent_at + INTERVAL '2' DAY) AS double precision) / count(*) AS within_2_days,
       CAST(count(*) FILTER (WHERE e.received_at <= m.sent_at + INTERVAL '7' DAY) AS double precision) / count(*) AS within_7_days
FROM email.events e
JOIN email.messages m ON m.message_id = e.message_id
WHERE e.kind IN ('opened', 'clicked') AND NOT e.is_machine AND NOT e.is_test
GROUP BY e.campaign_id
ORDER BY e.campaign_id`,
  },
]

const SHOWN = ['Where do people leave, from delivery to order?', 'How many people are active on a day?', 'Which links do people click?']
/** Those that have an answer wherever there is any mail, the demo's too. */
export const FIRST: readonly Example[] = EXAMPLES.filter((one) => SHOWN.includes(one.title))
