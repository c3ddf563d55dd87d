/** Entries of the audit trail as people read them. */
import type { Schema } from '../../lib/api/types'

export const VIA: Record<string, string> = { session: 'console', token: 'API token', 'command line': 'command line', server: 'by itself' }

const PLACES: Record<string, (subject: string) => string> = {
  source: (slug) => `/sources/${slug}`,
  destination: (slug) => `/destinations/${slug}`,
  warehouse: (slug) => `/warehouses/${slug}`,
  person: () => '/settings/people',
  token: () => '/settings/tokens',
}

/** Where the subject is shown, null where it has no page or is gone. */
export function placeOf(entry: Schema<'AuditEntry'>): string | null {
  if (!entry.subject || entry.verb === 'removed') return null
  return PLACES[entry.kind]?.(encodeURIComponent(entry.subject)) ?? null
}

export function shownValue(value: unknown): string {
  if (value === null || value === '') return 'nothing'
  if (value === true) return 'yes'
  if (value === false) return 'no'
  return String(value)
}
