/** What a report asks and how it is drawn: its state, its way into the address and into requests. Pure. */

export type Scalar = string | number | boolean | null
export type Condition = [field: string, operator: string, value?: unknown]
export const CHARTS = ['auto', 'table', 'pivot', 'bar', 'line', 'area', 'stacked', 'funnel', 'heat'] as const
export type ChartKind = (typeof CHARTS)[number]
export type DrawnKind = Exclude<ChartKind, 'auto'>
export type Well = 'rows' | 'series' | 'values' | 'filters'
export const WELLS: readonly Well[] = ['rows', 'series', 'values', 'filters']

export interface ReportRequest {
  preset?: string | null
  dataset?: string | null
  dimensions?: string[] | null
  measures?: string[] | null
  filters?: Condition[]
  since?: string | null
  until?: string | null
  zone?: string
  sort?: string[] | null
  limit?: number | null
  source?: string | null
  goal?: string | null
  model?: 'last' | 'first' | 'any'
  warehouse?: string | null
}
export interface Drawn {
  chart: ChartKind
  series: string[]
  measures: string[]
  shown: number
  compare: boolean
  totals: boolean
}
export interface ReportBody {
  request: ReportRequest
  drawn: Drawn
}

/** What the page shows; everything of it stands in the address. */
export interface Chosen {
  dataset: string
  rows: string[]
  series: string[]
  values: string[]
  filters: Condition[]
  since: string | null
  until: string | null
  zone: string
  sort: string[]
  source: string | null
  goal: string | null
  model: 'last' | 'first' | 'any'
  warehouse: string | null
  chart: ChartKind
  shown: number
  compare: boolean
}

export const NOTHING: Chosen = {
  dataset: 'messages',
  rows: [],
  series: [],
  values: [],
  filters: [],
  since: '30d',
  until: null,
  zone: 'UTC',
  sort: [],
  source: null,
  goal: null,
  model: 'last',
  warehouse: null,
  chart: 'auto',
  shown: 20,
  compare: false,
}
export const SERIES_SHOWN = 8

export interface Column {
  name: string
  title: string
  sentence: string
  kind: 'dimension' | 'measure'
  type: string
  unit: Unit | null
}
export type Unit = 'count' | 'share' | 'money' | 'seconds' | 'number' | 'level'
export type Row = readonly Scalar[]
export interface Crossing {
  since: string | null
  until: string | null
  cells: readonly Row[]
  by_row: readonly Row[]
  by_series: readonly Row[]
  whole: readonly Row[]
  rest_by_row: readonly Row[]
  rest_by_series: readonly Row[]
  rest_rows: readonly Row[]
  rest_series: readonly Row[]
  rest_both: readonly Row[]
}
export interface TableAnswer {
  dataset: string
  sentence: string
  columns: readonly Column[]
  rows: readonly string[]
  series: readonly string[]
  table: Crossing
  before: Crossing | null
  shown: number
  rows_in_all: number
  series_shown: number
  series_in_all: number
  truncated: boolean
  notes: readonly string[]
  zone: string
  goal: string
  model: string
  sql: string
  seconds: number
  as_of: string | null
  loads_behind: number
  is_flagging: boolean
}

export function requestOf(chosen: Chosen): ReportRequest {
  return {
    dataset: chosen.dataset,
    dimensions: [...chosen.rows, ...chosen.series],
    measures: chosen.values,
    filters: chosen.filters,
    since: chosen.since,
    until: chosen.until,
    zone: chosen.zone,
    sort: sortOf(chosen),
    source: chosen.source,
    goal: chosen.goal,
    model: chosen.model,
    warehouse: chosen.warehouse,
  }
}

/** Columns that are gone are sorted by no more. */
export function sortOf(chosen: Chosen): string[] {
  const there = new Set([...chosen.rows, ...chosen.series, ...chosen.values])
  const found = chosen.sort.filter((name) => there.has(name.replace(/^-/, '')))
  return found.length ? found : chosen.rows.slice(0, 1).filter(isOrdinal)
}

/** What is asked for a chart or a table: tables tell all rows one by one. */
export function orderOf(chosen: Chosen, kind: DrawnKind): unknown {
  const whole = kind === 'table'
  return {
    request: requestOf(chosen),
    series: chosen.series,
    shown: whole ? null : kind === 'pivot' ? 200 : kind === 'funnel' ? 6 : chosen.rows.some(isOrdinal) ? 200 : chosen.shown,
    series_shown: whole ? null : kind === 'pivot' || kind === 'heat' ? 40 : SERIES_SHOWN,
    compare: chosen.compare && chosen.since !== null,
  }
}

export function bodyOf(chosen: Chosen): ReportBody {
  return {
    request: requestOf(chosen),
    drawn: { chart: chosen.chart, series: chosen.series, measures: [], shown: chosen.shown, compare: chosen.compare, totals: true },
  }
}

/** Of a saved body, as far as it can be understood; `presets` fill what a request leaves to its preset. */
export function chosenOf(body: Partial<ReportBody>, presets: readonly Preset[] = []): Chosen {
  const request = body.request ?? {}
  const drawn = body.drawn
  const preset = presets.find((one) => one.name === request.preset)
  const isSame = preset !== undefined && (request.dataset === null || request.dataset === undefined || request.dataset === preset.dataset)
  const dimensions = request.dimensions ?? (isSame ? [...preset.dimensions] : [])
  const series = (drawn?.series ?? []).filter((name) => dimensions.includes(name))
  return {
    ...NOTHING,
    dataset: request.dataset ?? preset?.dataset ?? 'messages',
    rows: dimensions.filter((name) => !series.includes(name)),
    series,
    values: request.measures ?? (isSame ? [...preset.measures] : []),
    filters: [...((preset?.filters ?? []) as Condition[]), ...(request.filters ?? [])],
    since: request.since ?? null,
    until: request.until ?? null,
    zone: request.zone ?? 'UTC',
    sort: request.sort ?? (isSame ? [...preset.sort] : []),
    source: request.source ?? null,
    goal: request.goal ?? null,
    model: request.model ?? 'last',
    warehouse: request.warehouse ?? null,
    chart: drawn?.chart ?? (preset ? chartOf(preset) : 'auto'),
    shown: drawn?.shown ?? NOTHING.shown,
    compare: drawn?.compare ?? false,
  }
}

export interface Preset {
  name: string
  sentence: string
  dataset: string
  dimensions: readonly string[]
  measures: readonly string[]
  sort: readonly string[]
  filters: readonly unknown[]
  chart: string
  drawn: string
}

/** Presets have many figures each, which a chart of all would not show well. */
function chartOf(preset: Preset): ChartKind {
  return preset.chart === 'line' ? 'line' : 'table'
}

/** As it stands in the address: only what is not as it would be anyway. */
export function written(chosen: Chosen): string {
  const found: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(chosen)) {
    if (JSON.stringify(value) !== JSON.stringify(NOTHING[name as keyof Chosen])) found[name] = value
  }
  return JSON.stringify(found)
}

/** Null for what is none: an address may be cut, or typed by hand. */
export function read(text: string | null): Chosen | null {
  if (!text) return null
  let found: unknown
  try {
    found = JSON.parse(text)
  } catch {
    return null
  }
  if (typeof found !== 'object' || found === null || Array.isArray(found)) return null
  const given = found as Record<string, unknown>
  const texts = (name: string): string[] => (Array.isArray(given[name]) ? (given[name] as unknown[]).filter((one): one is string => typeof one === 'string') : [])
  const text_ = (name: keyof Chosen): string | null => (typeof given[name] === 'string' ? (given[name] as string) : ((name in given ? null : NOTHING[name]) as string | null))
  const filters = Array.isArray(given.filters) ? (given.filters as unknown[]).filter((one): one is Condition => Array.isArray(one) && typeof one[0] === 'string' && typeof one[1] === 'string') : []
  const shown = Number(given.shown ?? NOTHING.shown)
  return {
    dataset: text_('dataset') ?? NOTHING.dataset,
    rows: texts('rows'),
    series: texts('series'),
    values: texts('values'),
    filters,
    since: text_('since'),
    until: text_('until'),
    zone: text_('zone') ?? 'UTC',
    sort: texts('sort'),
    source: text_('source'),
    goal: text_('goal'),
    model: given.model === 'first' || given.model === 'any' ? given.model : 'last',
    warehouse: text_('warehouse'),
    chart: CHARTS.includes(given.chart as ChartKind) ? (given.chart as ChartKind) : 'auto',
    shown: Number.isInteger(shown) && shown >= 1 && shown <= 200 ? shown : NOTHING.shown,
    compare: given.compare === true,
  }
}

const FAMILY = /^(?:(sent|first_sent|happened)_)?(hour|day|week|month)$/
/** The other sizes of a field of time, finest first: [] for what is no time. */
export function granularities(field: string): { name: string; text: string }[] {
  const found = FAMILY.exec(field)
  if (!found) return []
  const prefix = found[1] ? `${found[1]}_` : ''
  return (prefix ? ['hour', 'day', 'week', 'month'] : ['day', 'week', 'month']).map((size) => ({ name: prefix + size, text: size }))
}
export function isTime(field: string): boolean {
  return FAMILY.test(field)
}
export function isOrdinal(field: string): boolean {
  return /(_weekday|_hour_of_day)$/.test(field) || field === 'hour_since_delivery' || field === 'send_number'
}

const STAGES = new Set(['sent', 'delivered', 'opens', 'human_opens', 'clicks', 'human_clicks', 'orders'])

/** What is drawn where the choice is left to us. */
export function kindOf(chosen: Chosen): DrawnKind {
  if (chosen.chart !== 'auto') return chosen.chart
  const { rows, series, values } = chosen
  const first = rows[0]
  if (!rows.length && !series.length) return values.length >= 3 && values.every((name) => STAGES.has(name)) ? 'funnel' : 'table'
  if (values.length > 6 || rows.length > 2 || series.length > 1) return series.length ? 'pivot' : 'table'
  if (rows.length === 1 && first !== undefined && isTime(first)) return 'line'
  if (rows.length === 1 && series.length === 1 && isOrdinal(first ?? '') && isOrdinal(series[0] ?? '')) return 'heat'
  if (rows.length === 2 && !series.length) return rows.includes('campaign_id') && rows.includes('campaign_name') ? 'bar' : 'table'
  return rows.length <= 1 ? 'bar' : 'pivot'
}

export const CHART_TITLES: Record<ChartKind, string> = {
  auto: 'Automatic',
  table: 'Table',
  pivot: 'Pivot',
  bar: 'Bars',
  line: 'Lines',
  area: 'Area',
  stacked: 'Stacked',
  funnel: 'Funnel',
  heat: 'Heat map',
}

/** Why a kind of chart cannot show this; empty where it can. */
export function unfit(kind: ChartKind, chosen: Chosen, units: readonly (Unit | null)[]): string {
  const { rows, series, values } = chosen
  if (kind === 'line' || kind === 'area') return rows.length === 1 ? '' : 'Lines need one field in Rows, best a time.'
  if (kind === 'stacked') {
    if (rows.length !== 1) return 'Stacks need one field in Rows.'
    if (!series.length) return 'Stacks need a field in Series, whose parts are put on each other.'
    if (!units.some((unit) => unit === 'count' || unit === 'money')) return 'Shares and times do not add up; take a count or an amount.'
  }
  if (kind === 'funnel') return values.length > 1 ? '' : 'A funnel needs two counts or more in Values, the widest first.'
  if (kind === 'heat') return rows.length + series.length === 2 ? '' : 'A heat map needs two fields in Rows and Series.'
  if (kind === 'pivot') return series.length ? '' : 'A pivot needs a field in Series, which becomes its columns.'
  if (kind === 'bar') return rows.length + series.length ? '' : 'Bars need a field in Rows.'
  return ''
}

/** With a field in a well, taken out of where it stood; `at` counts among what is left. */
export function placed(chosen: Chosen, field: string, well: Well, at?: number): Chosen {
  const out = well === 'filters' ? chosen : removed(chosen, field)
  if (well === 'filters') return { ...chosen, filters: [...chosen.filters, [field, 'is', '']] }
  const list = [...out[well]]
  list.splice(Math.min(at ?? list.length, list.length), 0, field)
  return { ...out, [well]: list }
}

export function removed(chosen: Chosen, field: string): Chosen {
  const without = (list: string[]): string[] => list.filter((name) => name !== field)
  return { ...chosen, rows: without(chosen.rows), series: without(chosen.series), values: without(chosen.values) }
}

export function wellOf(chosen: Chosen, field: string): Exclude<Well, 'filters'> | null {
  return (['rows', 'series', 'values'] as const).find((well) => chosen[well].includes(field)) ?? null
}
