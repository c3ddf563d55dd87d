/** Words and shapes that the pages of sources share. */
import type { Schema } from '../../lib/api/types'

export type SourceEntry = Schema<'SourceEntry'>
export type SourceDetail = Schema<'SourceDetail'>
export type SourceShown = Schema<'SourceShown'>
export type SourceWithKey = Schema<'SourceWithKey'>
export type EventsShown = Schema<'EventsShown'>
export type EventShown = Schema<'EventShown'>
export type Kind = Schema<'KindShown'>

export interface Standing {
  kind: 'good' | 'warn' | 'bad' | 'info' | 'plain'
  text: string
}

const DAY = 86_400_000

/** The state of a source in a word. */
export function standing(entry: SourceEntry, now: Date): Standing {
  if (entry.source.state === 'removed') return { kind: 'plain', text: 'removed' }
  if (!entry.source.enabled) return { kind: 'warn', text: 'disabled' }
  if (!entry.last_event_at) return entry.refused ? { kind: 'bad', text: 'refused only' } : { kind: 'info', text: 'no event yet' }
  if (now.getTime() - new Date(entry.last_event_at).getTime() > 2 * DAY) return { kind: 'warn', text: 'silent' }
  return { kind: 'good', text: 'receiving' }
}

/** A name for events without one. */
export function eventName(one: { type: string; event: string; is_rest?: boolean }): string {
  if (one.is_rest) return 'further names'
  if (one.event) return one.event
  return one.type ? `(${one.type})` : '(not readable)'
}
