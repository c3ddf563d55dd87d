/** Pages by address. Each is loaded when it is first opened. The first pattern that fits wins. */
import type { Component } from 'svelte'
import { fits, type Parameters_ } from './lib/router.svelte'
import type { Role } from './lib/session.svelte'

// Parameters of the pattern arrive as properties of the page, all of them strings.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Page = () => Promise<{ default: Component<any> }>

export interface Route {
  /** '/sources/:slug/:tab?': a part with ':' is a parameter, one with '?' may be missing. */
  pattern: string
  title: string
  page: Page
  /** The least role that may open it; viewer, if not given. */
  role?: Role
}

/** One page of two addresses: it stays when a new report gets its own. */
const report: Page = () => import('./pages/reports/Report.svelte')

export const routes: readonly Route[] = [
  { pattern: '/sql/:slug?', title: 'SQL', page: () => import('./pages/sql/Sql.svelte') },
  { pattern: '/campaigns', title: 'Campaigns', page: () => import('./pages/campaigns/Campaigns.svelte') },
  { pattern: '/campaigns/overview', title: 'E-mail overview', page: () => import('./pages/campaigns/Overview.svelte') },
  { pattern: '/campaigns/compare', title: 'Compare campaigns', page: () => import('./pages/campaigns/Compare.svelte') },
  { pattern: '/campaigns/id/:id?', title: 'Campaign', page: () => import('./pages/campaigns/Campaign.svelte') },
  { pattern: '/', title: 'Home', page: () => import('./pages/home/Home.svelte') },
  { pattern: '/sources', title: 'Sources', page: () => import('./pages/sources/Sources.svelte') },
  { pattern: '/sources/_add/:kind?', title: 'Add a source', page: () => import('./pages/sources/AddSource.svelte'), role: 'editor' },
  { pattern: '/sources/:slug/:tab?/:table?', title: 'Source', page: () => import('./pages/sources/Source.svelte') },
  { pattern: '/settings/:tab?', title: 'Settings', page: () => import('./pages/settings/Settings.svelte') },
  { pattern: '/debugger/:id?', title: 'Debugger', page: () => import('./pages/debugger/Debugger.svelte') },
  { pattern: '/destinations', title: 'Destinations', page: () => import('./pages/destinations/Destinations.svelte') },
  { pattern: '/destinations/_add/:kind?', title: 'Add a destination', page: () => import('./pages/destinations/Add.svelte'), role: 'editor' },
  { pattern: '/destinations/:slug/:tab?', title: 'Destination', page: () => import('./pages/destinations/Destination.svelte') },
  { pattern: '/alerts', title: 'Alerts', page: () => import('./pages/alerts/Alerts.svelte') },
  { pattern: '/delivery', title: 'Event Delivery', page: () => import('./pages/delivery/Delivery.svelte') },
  { pattern: '/reports', title: 'Reports', page: () => import('./pages/reports/Reports.svelte') },
  { pattern: '/reports/new', title: 'New report', page: report },
  { pattern: '/reports/:slug', title: 'Report', page: report },
  { pattern: '/dashboards', title: 'Dashboards', page: () => import('./pages/dashboards/Dashboards.svelte') },
  { pattern: '/dashboards/:slug', title: 'Dashboard', page: () => import('./pages/dashboards/Dashboard.svelte') },
  { pattern: '/warehouses', title: 'Warehouses', page: () => import('./pages/warehouses/Warehouses.svelte') },
  { pattern: '/warehouses/_add/:kind?', title: 'Add a warehouse', page: () => import('./pages/warehouses/New.svelte'), role: 'admin' },
  { pattern: '/warehouses/:slug/:tab?/:schema?/:table?', title: 'Warehouse', page: () => import('./pages/warehouses/Warehouse.svelte') },
  { pattern: '/email-model/:tab?', title: 'E-mail model', page: () => import('./pages/email-model/EmailModel.svelte') },
]

export function routeOf(path: string): { route: Route; parameters: Parameters_ } | null {
  for (const route of routes) {
    const parameters = fits(route.pattern, path)
    if (parameters) return { route, parameters }
  }
  return null
}
