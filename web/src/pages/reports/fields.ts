/** What may be asked: fields and measures in groups, as people look for them. Those that nobody put in a group stand under Other. */
import { api } from '../../lib/api/client'
import type { Preset, Unit } from './model'

export interface Field {
  name: string
  title: string
  sentence: string
  kind: 'dimension' | 'measure'
  type: string
  unit: Unit | null
  definition: string
  onlyFilters: boolean
  datasets: string[]
}
export interface Dataset {
  name: string
  title: string
  sentence: string
}
export interface Catalogue {
  fields: Map<string, Field>
  datasets: Dataset[]
  presets: Preset[]
}
interface FieldsShown {
  datasets: { name: string; sentence: string; fields: { name: string; title: string; sentence: string; type: string; only_filters: boolean }[]; measures: string[] }[]
}
interface MeasureShown {
  name: string
  title: string
  sentence: string
  unit: Unit
  definition: string
  datasets: string[]
}
export interface Offer {
  name: string
  kind: 'dimension' | 'measure'
  dataset: string
  reason: string
}
export interface Offers {
  dataset: string
  offers: Offer[]
  misfits: string[]
}

const DATASET_TITLES: Record<string, string> = {
  messages: 'Mails sent',
  activity: 'Activity by day',
  links: 'Links',
  engagement_curve: 'Hours since delivery',
  recipients: 'People',
  attribution: 'Orders',
  list_health: 'List health',
  quality: 'Quality of events',
  reasons: 'Rules for machines',
}

export async function catalogue(signal?: AbortSignal): Promise<Catalogue> {
  const [shown, measures, presets] = await Promise.all([
    api.get<FieldsShown>('/reports/fields', {}, signal),
    api.get<MeasureShown[]>('/reports/measures', {}, signal),
    api.get<Preset[]>('/reports/presets', {}, signal),
  ])
  const fields = new Map<string, Field>()
  for (const dataset of shown.datasets) {
    for (const field of dataset.fields) {
      const known = fields.get(field.name)
      if (known) known.datasets.push(dataset.name)
      else fields.set(field.name, { ...field, title: fullTitle(field.name, field.title), kind: 'dimension', unit: null, definition: '', onlyFilters: field.only_filters, datasets: [dataset.name] })
    }
  }
  for (const measure of measures) {
    fields.set(measure.name, { name: measure.name, title: measure.title, sentence: measure.sentence, kind: 'measure', type: 'number', unit: measure.unit, definition: measure.definition, onlyFilters: false, datasets: measure.datasets })
  }
  const datasets = shown.datasets.map((one) => ({ name: one.name, title: DATASET_TITLES[one.name] ?? one.name, sentence: one.sentence }))
  return { fields, datasets, presets }
}

function fullTitle(name: string, title: string): string {
  if (name.startsWith('label:')) return `Label: ${title}`
  if (name === 'email') return 'E-mail address'
  if (name === 'link_url') return 'Link address'
  if (name === 'hour_since_delivery') return 'Hours since delivery'
  if (name === 'is_matched') return 'User id known'
  return title
}

const GROUPS: readonly { title: string; kind: Field['kind']; has: (name: string) => boolean }[] = [
  { title: 'Campaign', kind: 'dimension', has: (name) => /^(campaign_name|campaign_id|email_id|journey_id|send_number|source|label:.*)$/.test(name) },
  { title: 'When it was sent', kind: 'dimension', has: (name) => name.startsWith('sent_') },
  { title: 'Recipient', kind: 'dimension', has: (name) => /^(domain|device|list_id|bounce_type|is_matched|recency|email|recipient_key)$/.test(name) },
  { title: 'When it happened', kind: 'dimension', has: (name) => name.startsWith('happened_') || /^(day|week|month|hour_since_delivery)$/.test(name) },
  { title: 'Links and orders', kind: 'dimension', has: (name) => /^(link|link_url|goal|touch|reason)$/.test(name) },
  { title: 'First sent', kind: 'dimension', has: (name) => name.startsWith('first_sent_') },
  { title: 'Delivery', kind: 'measure', has: (name) => /^(sent|delivered|delivery_rate|.*bounce.*)$/.test(name) },
  { title: 'Opens', kind: 'measure', has: (name) => /open/.test(name) && !/click|flagged|machine_opens/.test(name) },
  { title: 'Clicks', kind: 'measure', has: (name) => /click/.test(name) && !/flagged|machine_clicks/.test(name) },
  { title: 'Orders and revenue', kind: 'measure', has: (name) => /order|revenue|conver/.test(name) },
  { title: 'Recipients and lists', kind: 'measure', has: (name) => /recipients|unmatched_share|subscri|spam|net_growth/.test(name) },
  { title: 'Quality and machines', kind: 'measure', has: (name) => /event|late|without|machine|flagged/.test(name) },
]

export interface Group {
  title: string
  kind: Field['kind']
  fields: Field[]
}

/** Those that the search finds in title, name or sentence. */
export function grouped(fields: Iterable<Field>, search: string): Group[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean)
  const groups = GROUPS.map((group) => ({ ...group, fields: [] as Field[] }))
  const others: Group[] = [
    { title: 'Other', kind: 'dimension', fields: [] },
    { title: 'Other figures', kind: 'measure', fields: [] },
  ]
  for (const field of fields) {
    const text = `${field.title} ${field.name} ${field.sentence}`.toLowerCase()
    if (!words.every((word) => text.includes(word))) continue
    const group = groups.find((one) => one.kind === field.kind && one.has(field.name)) ?? others.find((one) => one.kind === field.kind)
    group?.fields.push(field)
  }
  return [...groups.filter((one) => one.kind === 'dimension'), ...others.slice(0, 1), ...groups.filter((one) => one.kind === 'measure'), ...others.slice(1)].filter((one) => one.fields.length)
}
