import { session, type Role } from '../../lib/session.svelte'

export const ROLES: readonly { value: Role; text: string; sentence: string }[] = [
  { value: 'viewer', text: 'Viewer', sentence: 'looks at everything, asks in SQL, makes reports' },
  { value: 'editor', text: 'Editor', sentence: 'all that, and changes sources, destinations, alerts, the e-mail model and saved things, says what warehouses load, and sends again' },
  { value: 'admin', text: 'Admin', sentence: 'all that, and adds and removes warehouses and changes their settings, removes sources, sets up Python and Kafka destinations, people, tokens of others, the audit trail, configuration as a file' },
  { value: 'owner', text: 'Owner', sentence: 'everything, other owners included' },
]

/** Those that the person here may give. */
export function givable(): { value: Role; text: string }[] {
  return ROLES.filter((role) => session.may(role.value)).map(({ value, text }) => ({ value, text }))
}

export function sentenceOf(role: Role): string {
  return ROLES.find((one) => one.value === role)?.sentence ?? ''
}
