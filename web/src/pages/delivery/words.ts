/** Words and colours of deliveries: outcomes, states, periods. Every page about them uses these. */
import type { Schema } from '../../lib/api/types'

export type Account = Schema<'Account'>
export type Point = Schema<'Point'>
export type ErrorFigures = Schema<'ErrorFigures'>
export type Sample = Schema<'SampleShown'>
export type Breakdown = Schema<'Breakdown'>
export type Fate = Schema<'Fate'>
export type Trace = Schema<'Trace'>

export type Outcome = 'delivered' | 'filtered' | 'waiting' | 'retrying' | 'failed'

export interface OutcomeWords {
  name: Outcome
  title: string
  /** The token of its colour. */
  colour: string
  says: string
}

/** In the order of the chain: what adds up to what was accepted. */
export const OUTCOMES: readonly OutcomeWords[] = [
  { name: 'delivered', title: 'Delivered', colour: '--series-1', says: 'The tool has them.' },
  { name: 'filtered', title: 'Left out', colour: '--series-8', says: 'Left out on purpose: by the event itself, the filter, the types or the mapping.' },
  { name: 'waiting', title: 'Waiting', colour: '--series-3', says: 'Not tried yet: they are in the log, in front of the destination.' },
  { name: 'retrying', title: 'Retrying', colour: '--series-2', says: 'At least one attempt came to nothing, and another follows by itself.' },
  { name: 'failed', title: 'Failed', colour: '--bad', says: 'Dead letters: the tool said no for good, or the time for retries is over. They are kept and can be sent again.' },
]

const OF_WAREHOUSES: Partial<Record<Outcome, Pick<OutcomeWords, 'title' | 'says'>>> = {
  delivered: { title: 'Loaded', says: 'They are in its tables; an id that was there already counts too.' },
  filtered: { title: 'Left out', says: "Left out by the warehouse's selection." },
  waiting: { title: 'Waiting', says: 'They are in the log and not loaded yet.' },
  failed: { title: 'Rejected', says: 'They could not become a row; they stand in headrace.rejected with the reason.' },
}

export function outcomesOf(what: string): readonly OutcomeWords[] {
  if (what !== 'warehouse') return OUTCOMES
  return OUTCOMES.filter((outcome) => outcome.name !== 'retrying').map((outcome) => ({ ...outcome, ...OF_WAREHOUSES[outcome.name] }))
}

export type Kind = 'good' | 'warn' | 'bad' | 'info' | 'plain'

const STATES: Record<string, { text: string; kind: Kind }> = {
  delivering: { text: 'Delivering', kind: 'good' },
  loading: { text: 'Loading', kind: 'good' },
  waiting: { text: 'Nothing gets through', kind: 'bad' },
  failing: { text: 'Stands still', kind: 'bad' },
  opening: { text: 'Opening', kind: 'info' },
  disabled: { text: 'Switched off', kind: 'bad' },
  paused: { text: 'Paused', kind: 'warn' },
  stopped: { text: 'No server runs', kind: 'warn' },
  closed: { text: 'Closed', kind: 'plain' },
  'not begun': { text: 'Not begun', kind: 'info' },
  removed: { text: 'Removed', kind: 'plain' },
}

/** The state of a destination or a warehouse in a word or two. One that delivers with dead letters needs a person too. */
export function stateOf(account: Pick<Account, 'state' | 'failed' | 'retrying' | 'error'>): { text: string; kind: Kind } {
  const known = STATES[account.state] ?? { text: account.state, kind: 'plain' as Kind }
  if (account.state === 'delivering' && account.error) return { text: 'Has trouble', kind: 'bad' }
  if (known.kind === 'good' && account.failed) return { text: `${known.text}, some failed`, kind: 'warn' }
  if (known.kind === 'good' && account.retrying) return { text: `${known.text}, some retried`, kind: 'warn' }
  return known
}

/** The longest that is chosen by a click is what outcomes are kept for with the usual settings. */
export const PERIODS = [
  { value: '10m', text: 'Last 10 minutes' },
  { value: '1h', text: 'Last hour' },
  { value: '24h', text: 'Last 24 hours' },
  { value: '7d', text: 'Last 7 days' },
  { value: '14d', text: 'Last 14 days' },
] as const

export const CONFIGURATION_CODES: readonly string[] = ['INVALID_SETTINGS', 'ADDRESS_REFUSED', 'INVALID_AUTHENTICATION', '410']

/** A remedy of the table of codes is worded for the command line; on a page the same is done by a click. */
export const inConsole = (remedy: string): string =>
  remedy
    .replace('Correct the setting with `headrace destination set`', 'Correct the setting')
    .replace('Give a valid key with `headrace destination set`', 'Give a valid key in its settings')
    .replace('set it, and run `headrace destination resume`', 'put it into the settings, and resume it')
    .replaceAll('`', '')

/** Where a destination or a warehouse has its page. */
export const placeOf = (account: Pick<Account, 'slug' | 'what'>): string => `/${account.what === 'warehouse' ? 'warehouses' : 'destinations'}/${encodeURIComponent(account.slug)}`

/** A link of the table of codes: an address, or a page of the documentation that comes with headrace. */
export const isWeb = (link: string): boolean => /^https?:\/\//.test(link)

/** What is shown of a request or an answer; JSON is set out. */
export function pretty(body: string): string {
  try {
    return JSON.stringify(JSON.parse(body), null, 2)
  } catch {
    return body
  }
}
