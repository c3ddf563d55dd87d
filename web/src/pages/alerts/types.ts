import type { Schema } from '../../lib/api/types'

export type Alert = Schema<'AlertShown'>
export type Channel = Schema<'ChannelShown'>
export type Kind = Schema<'AlertKind'>
export type Tried = Schema<'NoticeTried'>

export const STATES: Record<Alert['state'], { text: string; kind: 'good' | 'warn' | 'bad' | 'info' | 'plain' }> = {
  well: { text: 'All is well', kind: 'good' },
  holds: { text: 'Holds now', kind: 'bad' },
  waits: { text: 'Begins to hold', kind: 'warn' },
  error: { text: 'Cannot be checked', kind: 'bad' },
  paused: { text: 'Paused', kind: 'warn' },
  unknown: { text: 'Not looked at yet', kind: 'info' },
}
export const CONDITIONS: Record<string, string> = {
  'delivery-rate': 'Deliveries fail',
  'source-volume': 'A source falls silent, or sends far more',
  'warehouse-late': 'A warehouse is late',
  'rejected-events': 'Events are rejected',
}
export const CHANNELS: Record<string, string> = { slack: 'Slack', webhook: 'Webhook', email: 'E-mail' }
export const wordsOf = (slug: string): string => CONDITIONS[slug] ?? CHANNELS[slug] ?? slug
