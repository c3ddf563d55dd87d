/** The tabs of the settings, in their order; each is loaded when it is first opened. */
import type { Component } from 'svelte'
import type { Role } from '../../lib/session.svelte'

export interface SettingsTab {
  slug: string
  title: string
  role: Role
  part: () => Promise<{ default: Component }>
}

export const tabs: readonly SettingsTab[] = [
  { slug: 'people', title: 'People', role: 'admin', part: () => import('./People.svelte') },
  { slug: 'tokens', title: 'API tokens', role: 'viewer', part: () => import('./Tokens.svelte') },
  { slug: 'audit', title: 'Audit trail', role: 'admin', part: () => import('./Audit.svelte') },
  { slug: 'configuration', title: 'Configuration as a file', role: 'admin', part: () => import('./Configuration.svelte') },
  { slug: 'account', title: 'My account', role: 'viewer', part: () => import('./Account.svelte') },
]
