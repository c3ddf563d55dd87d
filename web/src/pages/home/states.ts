/** The states of warehouses and destinations as colours: a badge says the word itself. */
const KINDS: Record<string, 'good' | 'warn' | 'bad' | 'info' | 'plain'> = {
  loading: 'good',
  running: 'good',
  delivering: 'good',
  active: 'good',
  opening: 'info',
  'not begun': 'info',
  waiting: 'warn',
  paused: 'warn',
  failing: 'bad',
  stopped: 'bad',
  disabled: 'bad',
  unknown: 'plain',
}
export const stateBadge = (state: string): 'good' | 'warn' | 'bad' | 'info' | 'plain' => KINDS[state] ?? 'plain'
