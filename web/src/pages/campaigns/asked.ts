/** What the page of one campaign asks, all at once. */
import { api } from '../../lib/api/client'
import type { Schema } from '../../lib/api/types'
import type { choice } from './choice.svelte'

export const KEY = [
  'sent', 'delivered', 'delivery_rate', 'opens', 'human_opens', 'open_rate', 'human_open_rate', 'clicks', 'human_clicks', 'all_click_rate', 'click_rate', 'click_to_open_rate',
  'bounces', 'hard_bounces', 'soft_bounces', 'unknown_bounces', 'bounce_rate', 'hard_bounce_rate', 'soft_bounce_rate', 'unsubscribes', 'unsubscribe_rate', 'spam', 'spam_rate', 'spam_alarm',
  'orders', 'revenue', 'conversion_rate', 'revenue_per_recipient', 'average_order_value', 'recipients',
  'machine_only_opens', 'machine_share_of_opens', 'machine_only_clicks', 'machine_share_of_clicks', 'time_to_open_median', 'time_to_open_p90', 'time_to_click_median', 'time_to_click_p90',
] as const

/** The most links, and pairs of a bounce's kind and a domain, that are asked for. */
export const MOST_LINKS = 200
const MOST_BOUNCES = 100

let sources: Promise<ReadonlyMap<string, string>> | null = null
/** The schema of a source by its slug: funnels know sources by that. A slug of none stays itself, and selects nothing. */
export async function schemaOf(slug: string): Promise<string> {
  const known = sources && (await sources)
  if (!known?.has(slug)) {
    sources = api.get<Schema<'SourceEntry'>[]>('/sources').then((all) => new Map(all.map(({ source }) => [source.slug, source.schema])))
    sources.catch(() => (sources = null))
  }
  return (await sources)?.get(slug) ?? slug
}

/** `order` is that of the choice; `schema` that of the chosen source, '' of all. */
export function questions(id: string, order: typeof choice.order, schema: string): { reports: Record<string, unknown>; funnels: Record<string, unknown> } {
  const { since, until, zone, source, model, goal } = order
  const only = ['campaign_id', 'is', id]
  const mails = { since, until, zone, source, model, goal, filters: [only] }
  // What happened on a day is not told by source, nor selected by when the mail was sent: the days show all of the campaign.
  const days = { dataset: 'activity', dimensions: ['day'], sort: ['day'], zone, filters: [only] }
  return {
    reports: {
      key: { ...mails, dimensions: ['campaign_name'], measures: KEY },
      days: { ...days, measures: ['delivered', 'opens', 'human_opens', 'clicks', 'human_clicks', 'orders', 'unsubscribes'] },
      curve: { dataset: 'engagement_curve', dimensions: ['hour_since_delivery'], measures: ['opens', 'human_opens', 'clicks', 'human_clicks'], sort: ['hour_since_delivery'], since, until, zone, source, filters: [only] },
      links: { dataset: 'links', dimensions: ['email_id', 'link', 'link_url'], measures: ['clicks', 'human_clicks', 'human_click_events'], sort: ['-human_clicks'], limit: MOST_LINKS, since, until, zone, source, filters: [only] },
      domains: { ...mails, dimensions: ['domain'], measures: ['sent', 'delivered', 'delivery_rate', 'human_open_rate', 'click_rate', 'hard_bounce_rate', 'soft_bounce_rate', 'spam_rate'], sort: ['-sent'], limit: 100 },
      devices: { ...mails, filters: [only, ['device', 'known']], dimensions: ['device'], measures: ['human_opens', 'human_clicks', 'orders'], sort: ['-human_opens'] },
      reasons: { dataset: 'reasons', dimensions: ['reason'], measures: ['flagged_opens', 'flagged_clicks', 'flagged_messages', 'flagged_by_it_alone'], sort: ['-flagged_messages'], zone, source, filters: [only] },
      bounces: { ...mails, filters: [only, ['bounce_type', 'known']], dimensions: ['bounce_type'], measures: ['bounces'], sort: ['-bounces'] },
      bounce_domains: { ...mails, filters: [only, ['bounce_type', 'known']], dimensions: ['bounce_type', 'domain'], measures: ['bounces'], sort: ['-bounces'], limit: MOST_BOUNCES },
      sends: { ...mails, dimensions: ['sent_day', 'email_id', 'source'], measures: ['sent', 'delivered', 'human_open_rate', 'click_rate', 'orders', 'revenue'], sort: ['-sent_day'], limit: 400 },
    },
    funnels: {
      way: {
        since, until, zone, filters: schema ? [only, ['source', 'is', schema]] : [only],
        steps: [{ step: 'delivered' }, { step: 'human_opened', name: 'opened by a person' }, { step: 'human_clicked', name: 'clicked by a person' }, { step: goal ? `attributed:${goal}` : 'attributed', touch: 'click', name: 'ordered after that click' }],
      },
    },
  }
}
