/** What all pages of campaigns are about: period, time zone, source, who gets the orders. It stands in the address, so that a link shows the same. */
import { here, setQuery } from '../../lib/router.svelte'
import { ZONE } from '../../lib/format'

export const PERIODS = [
  { value: '7d', text: 'Last 7 days' },
  { value: '30d', text: 'Last 30 days' },
  { value: '90d', text: 'Last 90 days' },
  { value: '365d', text: 'Last 12 months' },
  { value: 'all', text: 'All time' },
  { value: 'own', text: 'From … to …' },
] as const
const USUAL = '90d'
const NAMES = ['since', 'until', 'zone', 'source', 'model', 'goal'] as const

class Choice {
  get since(): string {
    return here.query.get('since') ?? USUAL
  }
  get until(): string {
    return here.query.get('until') ?? ''
  }
  get zone(): string {
    return here.query.get('zone') ?? localStorage.getItem('campaigns.zone') ?? ZONE
  }
  get source(): string {
    return here.query.get('source') ?? ''
  }
  get model(): 'last' | 'first' | 'any' {
    const model = here.query.get('model')
    return model === 'first' || model === 'any' ? model : 'last'
  }
  get goal(): string {
    return here.query.get('goal') ?? ''
  }
  get period(): string {
    return PERIODS.some((one) => one.value === this.since) && !this.until ? this.since : 'own'
  }
  /** As the API takes it. */
  get order(): { since: string | null; until: string | null; zone: string; source: string | null; model: 'last' | 'first' | 'any'; goal: string | null } {
    return { since: this.since === 'all' ? null : this.since, until: this.until || null, zone: this.zone, source: this.source || null, model: this.model, goal: this.goal || null }
  }
  /** In words, for a sentence. */
  get words(): string {
    const known = PERIODS.find((one) => one.value === this.since)
    if (known && !this.until) return known.value === 'all' ? 'of all time' : `of the ${known.text.toLowerCase()}`
    return `from ${this.since === 'all' ? 'the beginning' : this.since} to ${this.until || 'now'}`
  }
  /** An address of another of these pages with the same choice. */
  link(path: string, more: Record<string, string> = {}): string {
    const query = new URLSearchParams()
    for (const name of NAMES) {
      const value = here.query.get(name)
      if (value) query.set(name, value)
    }
    for (const [name, value] of Object.entries(more)) query.set(name, value)
    const text = query.toString()
    return path + (text ? `?${text}` : '')
  }
  set(changes: Partial<Record<(typeof NAMES)[number], string | null>>): void {
    if (changes.zone) localStorage.setItem('campaigns.zone', changes.zone)
    setQuery({ ...changes, ...(changes.since === USUAL && !changes.until ? { since: null } : {}) })
  }
}
export const choice = new Choice()

/** Of one campaign. Ids are any text: those that no path can hold stand in the query. */
export function campaignLink(id: string): string {
  return id === '' || id === '.' || id === '..' ? choice.link('/campaigns/id', { id }) : choice.link(`/campaigns/id/${encodeURIComponent(id)}`)
}

/** What a campaign is called: its name, else its id. */
export function called(campaign: { campaign_id: string; name: string | null } | undefined): string {
  return campaign?.name || campaign?.campaign_id || '(without a campaign)'
}

/** The name in parts between which a line may end. */
export function parts(name: string): string[] {
  return name.match(/[^_\-./\s]*[_\-./\s]*|[\s\S]/g)?.filter(Boolean) ?? [name]
}

const day = (zone: string, year: boolean): Intl.DateTimeFormat =>
  new Intl.DateTimeFormat('en-GB', { weekday: 'short', day: 'numeric', month: 'short', ...(year ? { year: 'numeric' } : {}), timeZone: zone })

const yearOf = (date: Date, zone: string): string => new Intl.DateTimeFormat('en-GB', { year: 'numeric', timeZone: zone }).format(date)

/** Tue 17 Nov, in the page's zone. */
export function dayOf(at: string | null, zone: string): string {
  if (!at) return '–'
  const date = new Date(at)
  return day(zone, yearOf(date, zone) !== yearOf(new Date(), zone)).format(date)
}
/** So many days ago at this time of the clock on the wall in the zone, as the API takes it (2026-11-09T22:00:00 of that zone). */
export function daysAgo(days: number, zone: string, now = new Date()): string {
  const parts = new Intl.DateTimeFormat('en-GB', { year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric', hourCycle: 'h23', timeZone: zone }).formatToParts(now)
  const part = (type: string): number => Number(parts.find((one) => one.type === type)?.value)
  return new Date(Date.UTC(part('year'), part('month') - 1, part('day') - days, part('hour'), part('minute'))).toISOString().slice(0, 19)
}
/** Tuesday 17 November 2026 at 09:30:12 CET, and the zone's name: what a time shows while the pointer is on it. */
export function momentIn(at: string, zone: string): string {
  const exact = new Intl.DateTimeFormat('en-GB', { dateStyle: 'full', timeStyle: 'long', timeZone: zone })
  return `${exact.format(new Date(at))} (${zone})`
}
/** Tue 17 Nov, 09:30. */
export function momentOf(at: string | null, zone: string): string {
  if (!at) return '–'
  return `${dayOf(at, zone)}, ${new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', timeZone: zone }).format(new Date(at))}`
}
