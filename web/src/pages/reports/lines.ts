/** An answer as lines over an axis: every value in its place, also those that are not there. Pure. */
import { granularities, isOrdinal, isTime, type Column, type Crossing, type Row, type Scalar, type TableAnswer, type Unit } from './model'
import { valueOf } from './words'

export interface Line {
  /** What the legend calls it. */
  name: string
  measure: Column
  unit: Unit
  values: (number | null)[]
  before: (number | null)[] | null
  /** Its colour: lines of the same series have the same one. Null: what is left over. */
  colour: number | null
}
export interface Lines {
  /** What stands on the axis, in words. */
  axis: string[]
  axisTitle: string
  isTime: boolean
  lines: Line[]
  measures: Column[]
  measuresInAll: number
}

export const MOST_MEASURES = 6
const MOST_STEPS = 4000
const key = (values: readonly Scalar[]): string => JSON.stringify(values)

export function columnsOf(answer: TableAnswer, names: readonly string[]): Column[] {
  return names.map((name) => answer.columns.find((column) => column.name === name)).filter((column): column is Column => column !== undefined)
}
export function measuresOf(answer: TableAnswer): Column[] {
  return answer.columns.filter((column) => column.kind === 'measure')
}

/** A row's or a series' values in words; a campaign is called by its name. */
export function named(values: readonly Scalar[], columns: readonly Column[], zone: string): string {
  const name = columns.findIndex((column) => column.name === 'campaign_name')
  const id = columns.findIndex((column) => column.name === 'campaign_id')
  const skipped = name >= 0 && id >= 0 ? (values[name] ? id : name) : -1
  return columns
    .map((column, index) => (index === skipped ? '' : valueOf(values[index], column, zone)))
    .filter(Boolean)
    .join(' · ')
}

/** The steps of time from the first to the last, also those of which nothing is known. Empty for too many. */
export function steps(field: string, since: string | null, until: string | null, zone: string, known: readonly Scalar[]): string[] {
  const size = granularities(field).find((one) => one.name === field)?.text
  const there = known.filter((value): value is string => typeof value === 'string').sort()
  if (size === 'hour') {
    const hour = 3_600_000
    const times = there.map((text) => Date.parse(text))
    const offset = (((times[0] ?? 0) % hour) + hour) % hour // of zones with half and quarter hours
    const from = since ? Math.floor((Date.parse(since) - offset) / hour) * hour + offset : Math.min(...times)
    const to = until ? Date.parse(until) : Math.max(...times) + 1
    if (!times.length || !Number.isFinite(from) || (to - from) / hour > MOST_STEPS) return there
    const byTime = new Map(there.map((text) => [Date.parse(text), text]))
    const found: string[] = []
    for (let at = from; at < to; at += hour) found.push(byTime.get(at) ?? new Date(at).toISOString())
    return found
  }
  const local = (text: string, less: number): string => new Intl.DateTimeFormat('en-CA', { year: 'numeric', month: '2-digit', day: '2-digit', timeZone: zone }).format(new Date(Date.parse(text) - less))
  const start = begin(since ? local(since, 0) : (there[0] ?? ''), size ?? 'day')
  const end = until ? local(until, 1) : since ? local(new Date().toISOString(), 0) : (there.at(-1) ?? '')
  if (!start || !end) return there
  const found: string[] = []
  for (let at = start; at <= end && found.length <= MOST_STEPS; at = next(at, size ?? 'day')) found.push(at)
  return found.length > MOST_STEPS ? there : found
}

function begin(day: string, size: string): string {
  if (!day) return ''
  if (size === 'month') return `${day.slice(0, 7)}-01`
  if (size !== 'week') return day
  const at = new Date(`${day}T00:00:00Z`)
  return moved(day, -((at.getUTCDay() + 6) % 7))
}
function moved(day: string, days: number): string {
  const at = new Date(`${day}T00:00:00Z`)
  at.setUTCDate(at.getUTCDate() + days)
  return at.toISOString().slice(0, 10)
}
function next(day: string, size: string): string {
  if (size === 'day') return moved(day, 1)
  if (size === 'week') return moved(day, 7)
  const [year = 0, month = 1] = day.split('-').map(Number)
  return `${month === 12 ? year + 1 : year}-${String(month === 12 ? 1 : month + 1).padStart(2, '0')}-01`
}

/** What an ordinal field can be, in order. */
function ordinals(field: string, known: readonly Scalar[]): Scalar[] {
  if (field.endsWith('_weekday')) return [1, 2, 3, 4, 5, 6, 7]
  if (field.endsWith('_hour_of_day')) return Array.from({ length: 24 }, (_, hour) => hour)
  const numbers = known.filter((value): value is number => typeof value === 'number')
  return Array.from({ length: Math.max(...numbers, 0) - Math.min(...numbers, 0) + 1 }, (_, index) => index + Math.min(...numbers, 0)).filter((value) => field === 'hour_since_delivery' || numbers.includes(value))
}

interface Axis {
  keys: (readonly Scalar[])[]
  words: string[]
}

function axisOf(answer: TableAnswer, names: readonly string[], rows: readonly Row[], crossing: Crossing): Axis {
  const columns = columnsOf(answer, names)
  const width = names.length
  const first = names[0] ?? ''
  const there = [...new Map(rows.map((row) => [key(row.slice(0, width)), row.slice(0, width)])).values()]
  let keys: (readonly Scalar[])[] = there
  if (width === 1 && isTime(first)) {
    keys = steps(first, crossing.since, crossing.until, answer.zone, there.map((one) => one[0] ?? null)).map((value) => [value])
    if (there.some((one) => one[0] === null)) keys.push([null])
  } else if (width === 1 && isOrdinal(first)) {
    const known = there.map((one) => one[0] ?? null)
    keys = [...ordinals(first, known).map((value) => [value]), ...(known.includes(null) ? [[null]] : [])]
  }
  return { keys, words: keys.map((one) => named(one, columns, answer.zone)) }
}

/** Rows as an axis, series and measures as lines. Where there are only series, they are the axis. */
export function linesOf(answer: TableAnswer, withRest: boolean): Lines {
  const turned = !answer.rows.length && answer.series.length > 0
  const rowNames = turned ? answer.series : answer.rows
  const seriesNames = turned ? [] : answer.series
  const all = measuresOf(answer)
  const measures = all.slice(0, MOST_MEASURES)
  const width = rowNames.length
  const size = width + seriesNames.length
  const ordered = turned ? answer.table.cells : seriesNames.length ? (answer.table.by_row.length ? answer.table.by_row : answer.table.cells) : answer.table.cells
  const axis = axisOf(answer, rowNames, ordered, answer.table)
  const beforeAxis = answer.before ? axisOf(answer, rowNames, seriesNames.length && answer.before.by_row.length ? answer.before.by_row : answer.before.cells, answer.before) : null
  const byTime = width === 1 && isTime(rowNames[0] ?? '')
  const seriesKeys = seriesNames.length ? distinct(answer.table.by_series.length ? answer.table.by_series.map((row) => row.slice(0, seriesNames.length)) : answer.table.cells.map((row) => row.slice(width, size))) : [[]]
  const seriesColumns = columnsOf(answer, seriesNames)
  const left = turned ? answer.series_in_all - answer.series_shown : answer.rows_in_all - answer.shown
  const hasRestRow = withRest && left > 0 && (seriesNames.length ? answer.table.rest_by_series.length > 0 : (turned ? answer.table.rest_series : answer.table.rest_rows).length > 0)
  const lines: Line[] = []
  const found = indexed(answer.table.cells, size)
  const foundBefore = answer.before ? indexed(answer.before.cells, size) : null
  const add = (values: readonly Scalar[], name: string, colour: number | null, ofRow: (crossing: Crossing, rowKey: readonly Scalar[]) => Row | undefined, rest: (crossing: Crossing) => Row | undefined, offset: number): void => {
    for (const [index, measure] of measures.entries()) {
      const line = (crossing: Crossing, keys: readonly (readonly Scalar[])[]): (number | null)[] => keys.map((one) => numberOf(ofRow(crossing, one)?.[offset + index]))
      const now = line(answer.table, axis.keys)
      let before: (number | null)[] | null = null
      if (answer.before && beforeAxis) before = byTime ? axis.keys.map((_, place) => (beforeAxis.keys[place] ? numberOf(ofRow(answer.before as Crossing, beforeAxis.keys[place])?.[offset + index]) : null)) : line(answer.before, axis.keys)
      if (hasRestRow) {
        const restOffset = (crossing: Crossing): number | null => {
          const row = rest(crossing)
          return row ? numberOf(row[row.length - all.length + index]) : null
        }
        now.push(restOffset(answer.table))
        if (before && answer.before) before.push(restOffset(answer.before))
      }
      lines.push({ name: [name, measures.length > 1 || !name ? measure.title : ''].filter(Boolean).join(' · '), measure, unit: measure.unit ?? 'count', values: now, before, colour: seriesNames.length ? colour : index })
    }
    void values
  }
  for (const [place, series] of seriesKeys.entries()) {
    add(
      series,
      seriesNames.length ? named(series, seriesColumns, answer.zone) : '',
      place,
      (crossing, rowKey) => (crossing === answer.table ? found : foundBefore)?.get(key([...rowKey, ...series])),
      (crossing) => (seriesNames.length ? crossing.rest_by_series.find((row) => key(row.slice(0, seriesNames.length)) === key(series)) : (turned ? crossing.rest_series : crossing.rest_rows)[0]),
      size,
    )
  }
  if (answer.table.rest_by_row.length && seriesNames.length) {
    add(
      [],
      `Other (${answer.series_in_all - answer.series_shown})`,
      null,
      (crossing, rowKey) => crossing.rest_by_row.find((row) => key(row.slice(0, width)) === key(rowKey)),
      (crossing) => crossing.rest_both[0],
      width,
    )
  }
  return {
    axis: hasRestRow ? [...axis.words, `Other (${left})`] : axis.words,
    axisTitle: columnsOf(answer, rowNames).map((column) => column.title).join(', '),
    isTime: byTime,
    lines,
    measures,
    measuresInAll: all.length,
  }
}

function indexed(rows: readonly Row[], size: number): Map<string, Row> {
  return new Map(rows.map((row) => [key(row.slice(0, size)), row]))
}
function distinct(keys: readonly (readonly Scalar[])[]): (readonly Scalar[])[] {
  return [...new Map(keys.map((one) => [key(one), one])).values()]
}
function numberOf(value: Scalar | undefined): number | null {
  return typeof value === 'number' ? value : null
}
