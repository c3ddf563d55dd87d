/** Dashboards: tiles on a grid of twelve columns. Pure. */
import { chosenOf, type ChartKind, type Chosen, type Preset, type ReportBody } from '../reports/model'
import type { Saved } from '../reports/saved'

export const COLUMNS = 12
export const ROW_PIXELS = 80
export const GAP_PIXELS = 16

export interface Tile {
  x: number
  y: number
  width: number
  height: number
  report?: string | null
  preset?: string | null
  text?: string | null
  chart?: ChartKind | null
}
export interface Period {
  since: string | null
  until: string | null
  zone: string | null
  compare: boolean | null
}
export interface DashboardBody {
  period: Period
  tiles: Tile[]
}
export const NO_PERIOD: Period = { since: null, until: null, zone: null, compare: null }

const overlap = (one: Tile, other: Tile): boolean => one.x < other.x + other.width && other.x < one.x + one.width && one.y < other.y + other.height && other.y < one.y + one.height

/** With one tile where it was put, and all others moved out of its way, each as far up as it can. Order and number of tiles stay. */
export function settled(tiles: readonly Tile[], moved: number): Tile[] {
  const found = tiles.map((tile) => ({ ...tile }))
  const order = found.map((_, index) => index).sort((a, b) => Number(b === moved) - Number(a === moved) || (found[a]?.y ?? 0) - (found[b]?.y ?? 0) || (found[a]?.x ?? 0) - (found[b]?.x ?? 0))
  const placed: Tile[] = []
  for (const index of order) {
    const tile = found[index]
    if (!tile) continue
    const collides = (y: number): boolean => placed.some((other) => overlap({ ...tile, y }, other))
    if (index !== moved) while (tile.y > 0 && !collides(tile.y) && !collides(tile.y - 1)) tile.y -= 1
    while (collides(tile.y)) tile.y += 1
    placed.push(tile)
  }
  return raised(found)
}

/** Without gaps above any tile. */
function raised(tiles: Tile[]): Tile[] {
  const order = [...tiles].sort((a, b) => a.y - b.y || a.x - b.x)
  for (const tile of order) {
    while (tile.y > 0 && !tiles.some((other) => other !== tile && overlap({ ...tile, y: tile.y - 1 }, other))) tile.y -= 1
  }
  return tiles
}

/** Within the grid, at its new place or of its new size. */
export function changed(tiles: readonly Tile[], index: number, changes: Partial<Tile>): Tile[] {
  const tile = tiles[index]
  if (!tile) return [...tiles]
  const width = Math.max(2, Math.min(COLUMNS, changes.width ?? tile.width))
  const height = Math.max(2, Math.min(20, changes.height ?? tile.height))
  const x = Math.max(0, Math.min(COLUMNS - width, changes.x ?? tile.x))
  const y = Math.max(0, Math.min(900, changes.y ?? tile.y))
  return settled(tiles.map((one, at) => (at === index ? { ...one, ...changes, width, height, x, y } : one)), index)
}

/** Where there is room first for one more of this size. */
export function added(tiles: readonly Tile[], tile: Omit<Tile, 'x' | 'y'>): Tile[] {
  for (let y = 0; ; y += 1) {
    for (let x = 0; x + tile.width <= COLUMNS; x += 1) {
      const wanted = { ...tile, x, y }
      if (!tiles.some((other) => overlap(wanted, other))) return raised([...tiles.map((one) => ({ ...one })), wanted])
    }
  }
}

/** What a tile asks: its report, over the dashboard's period where that has one. Null where the report is gone. */
export function chosenFor(tile: Tile, period: Period, reports: readonly Saved<ReportBody>[], presets: readonly Preset[]): { chosen: Chosen; title: string; href: string } | null {
  const report = tile.report ? reports.find((one) => one.slug === tile.report) : undefined
  const preset = tile.preset ? presets.find((one) => one.name === tile.preset) : undefined
  if (!report && !preset) return null
  const own = report ? chosenOf(report.body, presets) : chosenOf({ request: { preset: preset?.name ?? '', since: '30d' } }, presets)
  const chosen: Chosen = {
    ...own,
    ...(period.since !== null || period.until !== null ? { since: period.since, until: period.until } : {}),
    ...(period.zone !== null ? { zone: period.zone } : {}),
    ...(period.compare !== null ? { compare: period.compare } : {}),
    ...(tile.chart ? { chart: tile.chart } : {}),
  }
  const name = preset ? preset.name : ''
  return { chosen, title: report?.title ?? (name[0]?.toUpperCase() ?? '') + name.slice(1).replace('-', ' '), href: report ? `/reports/${report.slug}` : `/reports/new?preset=${name}` }
}
