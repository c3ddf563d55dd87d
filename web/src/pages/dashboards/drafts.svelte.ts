/** Dashboards in editing, each by its slug: who leaves one finds its changes again when coming back, and they reach no other. */
import { SvelteMap } from 'svelte/reactivity'
import { session } from '../../lib/session.svelte'
import type { Saved } from '../reports/saved'
import { NO_PERIOD, type DashboardBody, type Period, type Tile } from './model'

export interface Draft {
  /** What it was made from. */
  readonly of: Saved<DashboardBody>
  readonly tiles: Tile[]
  readonly period: Period
}

const every = new SvelteMap<string, Draft>()
/** Of whoever is logged in: another person at the same browser finds none of them. */
const own = (): string => `${session.known?.person ?? ''}/`

export const drafts = {
  get: (slug: string): Draft | undefined => every.get(own() + slug),
  has: (slug: string): boolean => every.has(own() + slug),
  set: (slug: string, draft: Draft): unknown => every.set(own() + slug, draft),
  drop: (slug: string): unknown => every.delete(own() + slug),
  /** Whether any has changes that are not saved. */
  areChanged: (): boolean => [...every].some(([key, draft]) => key.startsWith(own()) && isChanged(draft)),
}

export function begun(of: Saved<DashboardBody>): Draft {
  return { of, tiles: of.body.tiles.map((tile) => ({ ...tile })), period: { ...NO_PERIOD, ...of.body.period } }
}

/** Whether it differs from what it was made from. */
export function isChanged(draft: Draft): boolean {
  const { tiles, period } = begun(draft.of)
  return JSON.stringify([draft.tiles, draft.period]) !== JSON.stringify([tiles, period])
}
