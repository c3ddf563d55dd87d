/** What the pages about warehouses have in common: words, badges, types. */
import type { Schema } from '../../lib/api/types'

export type Entry = Schema<'WarehouseEntry'>
export type Note = Schema<'Note'>
export type Job = Schema<'Job'>
export type JobKind = Schema<'JobKind'>
export type Checked = Schema<'Checked'>
export type KindShown = Schema<'KindShown'>

export type Badge = 'good' | 'warn' | 'bad' | 'info' | 'plain'

/** A warehouse's state in a word, with its colour. */
export function stateOf(entry: Entry): { text: string; kind: Badge } {
  if (!entry.warehouse.title) return { text: 'not installed', kind: 'bad' }
  const state = entry.status?.warehouse?.state
  if (!state) return { text: 'taken up', kind: 'info' }
  if (state === 'loading') {
    if ((entry.status?.totals.pending ?? 0) > 0 && (entry.status?.lag_seconds ?? 0) > 60) return { text: 'catching up', kind: 'info' }
    return { text: 'loading', kind: 'good' }
  }
  const known: Record<string, Badge> = { failing: 'bad', opening: 'warn', paused: 'warn', stopped: 'bad', closed: 'plain' }
  return { text: state === 'opening' ? 'not reached' : state, kind: known[state] ?? 'plain' }
}

export const pathOf = (slug: string, tab = ''): string => `/warehouses/${encodeURIComponent(slug)}${tab ? `/${tab}` : ''}`

/** Where a note is mended. */
export function placeOf(slug: string, note: Note): { href: string; text: string } | null {
  switch (note.place) {
    case 'settings':
      return { href: pathOf(slug, 'settings'), text: 'Settings' }
    case 'misfits':
      return { href: pathOf(slug, 'misfits'), text: 'Misfits' }
    case 'rejected':
      return { href: pathOf(slug, 'loads') + '?show=rejected', text: 'Rejected events' }
    case 'loads':
      return { href: pathOf(slug, 'loads'), text: 'Loads' }
    case 'selection':
      return { href: pathOf(slug, 'selection'), text: 'Selection' }
    case 'jobs':
      return { href: pathOf(slug, 'jobs'), text: 'Jobs' }
    case 'email':
      return { href: '/email-model', text: 'E-mail model' }
    default:
      return null
  }
}

export const JOB_TITLES: Record<string, string> = {
  retype: 'Change a type',
  rebuild: 'Rebuild',
  backfill: 'Backfill',
  snapshot: 'Snapshot',
  export: 'Export',
  email_rebuild: 'Rebuild the e-mail model',
}

export function jobBadge(job: Job): Badge {
  return ({ waiting: 'info', running: 'info', done: 'good', failed: 'bad', cancelled: 'warn' } as const)[job.state ?? 'waiting']
}

export const isOver = (job: Job): boolean => job.state === 'done' || job.state === 'failed' || job.state === 'cancelled'

/** What a job is about: `shop.order_completed.total to float`. */
export function subjectOf(job: Job): string {
  const given = (job.arguments ?? {}) as Record<string, unknown>
  const text = (name: string): string => (typeof given[name] === 'string' ? (given[name] as string) : '')
  if (job.job === 'retype') return `${text('schema')}.${text('table')}.${text('column')} to ${text('type')}`
  if (job.job === 'rebuild') return text('table') ? `${text('schema')}.${text('table')}` : text('schema')
  if (job.job === 'backfill') return text('source') || text('schema') || 'all sources'
  if (job.job === 'snapshot' || job.job === 'export') return text('to')
  return ''
}

export const GUARANTEES: Record<string, { title: string; sentence: string }> = {
  transactional: { title: 'exactly once, whole loads', sentence: 'A load is one transaction: all of it is there or nothing, and every event is there once.' },
  'per table': { title: 'exactly once, table by table', sentence: 'The engine has no transaction over several tables: each table takes its part of a load once, and an interrupted load is ended before the next.' },
}

export const TYPES = ['boolean', 'integer', 'float', 'timestamp', 'string'] as const
