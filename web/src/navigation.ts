/** The entries of the sidebar, in groups. */
import { Activity, Bell, Bug, ChartColumnBig, Database, House, LayoutDashboard, Mail, Plug, Send, Settings, SquareTerminal, SlidersHorizontal } from '@lucide/svelte'
import type { Component } from 'svelte'
import type { Role } from './lib/session.svelte'

export interface Entry {
  href: string
  title: string
  icon: Component<{ size?: number | string }>
  role?: Role
}

export const navigation: readonly { title: string; entries: readonly Entry[] }[] = [
  { title: '', entries: [{ href: '/', title: 'Home', icon: House as Entry['icon'] }] },
  {
    title: 'Figures',
    entries: [
      { href: '/campaigns', title: 'Campaigns', icon: Mail as Entry['icon'] },
      { href: '/reports', title: 'Reports', icon: ChartColumnBig as Entry['icon'] },
      { href: '/dashboards', title: 'Dashboards', icon: LayoutDashboard as Entry['icon'] },
      { href: '/sql', title: 'SQL', icon: SquareTerminal as Entry['icon'] },
    ],
  },
  {
    title: 'Events',
    entries: [
      { href: '/debugger', title: 'Debugger', icon: Bug as Entry['icon'] },
      { href: '/delivery', title: 'Event Delivery', icon: Activity as Entry['icon'] },
    ],
  },
  {
    title: 'Connections',
    entries: [
      { href: '/sources', title: 'Sources', icon: Plug as Entry['icon'] },
      { href: '/destinations', title: 'Destinations', icon: Send as Entry['icon'] },
      { href: '/warehouses', title: 'Warehouses', icon: Database as Entry['icon'] },
    ],
  },
  {
    title: 'Workspace',
    entries: [
      { href: '/email-model', title: 'E-mail model', icon: SlidersHorizontal as Entry['icon'] },
      { href: '/alerts', title: 'Alerts', icon: Bell as Entry['icon'] },
      { href: '/settings', title: 'Settings', icon: Settings as Entry['icon'] },
    ],
  },
]
