/** What a chart of an answer shows: chosen by the types of its columns, changed by whoever looks. */
import type { ChartOption } from '../../lib/components/Chart.svelte'
import { isNumber, isTime, numeric, shown, type Answer, type Cell, type Row } from './cells'

export type Shape = 'line' | 'bar' | 'area' | 'scatter'
export const SHAPES: readonly { value: Shape; text: string }[] = [
  { value: 'line', text: 'Line' },
  { value: 'bar', text: 'Bars' },
  { value: 'area', text: 'Area' },
  { value: 'scatter', text: 'Scatter' },
]

/** Columns by name, so that a saved chart outlives a change of the SELECT. `by` splits the rows into series. */
export interface Drawing {
  shape: Shape
  x: string
  y: string[]
  by: string
}

export const MOST_POINTS = 5_000
export const MOST_SERIES = 12

/** What to begin with; null where nothing can be drawn. */
export function chosen(answer: Answer): Drawing | null {
  const numbers = answer.columns.filter((column) => isNumber(column.kind))
  const time = answer.columns.find((column) => isTime(column.kind))
  const texts = answer.columns.filter((column) => column.kind === 'text' || column.kind === 'boolean')
  // A name says more than an id.
  const text = texts.find((column) => column.kind === 'text' && !/(^|_)id$/i.test(column.name)) ?? texts[0]
  const x = time ?? text ?? numbers[0]
  const y = numbers.filter((column) => column.name !== x?.name).map((column) => column.name)
  if (!x || !y.length) return null
  if (time) {
    const by = text && y.length === 1 ? text.name : ''
    return { shape: 'line', x: x.name, y: y.slice(0, 4), by }
  }
  return { shape: texts.length ? 'bar' : 'scatter', x: x.name, y: y.slice(0, texts.length ? 2 : 1), by: '' }
}

/** A saved drawing, as far as the answer still has its columns. */
export function fitting(answer: Answer, kept: Partial<Drawing> | null | undefined): Drawing | null {
  const first = chosen(answer)
  if (!first || !kept) return first
  const names = new Set(answer.columns.map((column) => column.name))
  const numbers = new Set(answer.columns.filter((column) => isNumber(column.kind)).map((column) => column.name))
  const y = (Array.isArray(kept.y) ? kept.y : []).filter((name) => numbers.has(name))
  return {
    shape: SHAPES.some((shape) => shape.value === kept.shape) ? (kept.shape as Shape) : first.shape,
    x: kept.x && names.has(kept.x) ? kept.x : first.x,
    y: y.length ? y : first.y,
    by: kept.by && names.has(kept.by) ? kept.by : '',
  }
}

interface Series {
  name: string
  points: [Cell, number | null][]
}

/** Series by name with their points, in the order of the rows. */
function series(rows: readonly Row[], x: number, y: { name: string; at: number }[], by: number): Series[] {
  const found = new Map<string, Series>()
  for (const row of rows) {
    for (const { name, at } of y) {
      const part = by < 0 ? '' : shown(row[by] ?? null, 'text')
      const full = by < 0 ? name : y.length > 1 ? `${part}, ${name}` : part
      let one = found.get(full)
      if (!one) found.set(full, (one = { name: full, points: [] }))
      one.points.push([row[x] ?? null, numeric(row[at] ?? null)])
    }
  }
  return [...found.values()]
}

export interface Drawn {
  option: ChartOption
  /** What is left out, in a sentence; empty where all is drawn. */
  hidden: string
}

export function option(answer: Answer, drawing: Drawing): Drawn {
  const place = (name: string): number => answer.columns.findIndex((column) => column.name === name)
  const x = place(drawing.x)
  const kind = answer.columns[x]?.kind ?? 'text'
  const rows = (answer.rows as Row[]).slice(0, MOST_POINTS)
  const all = series(rows, x, drawing.y.map((name) => ({ name, at: place(name) })), drawing.by ? place(drawing.by) : -1)
  const drawn = all.slice(0, MOST_SERIES)
  const hidden = [
    answer.rows.length > MOST_POINTS ? `the first ${MOST_POINTS.toLocaleString('en-US')} of ${answer.rows.length.toLocaleString('en-US')} rows are drawn` : '',
    answer.truncated ? 'the answer has more rows than were fetched' : '',
    all.length > MOST_SERIES ? `the first ${MOST_SERIES} of ${all.length} series are drawn` : '',
  ].filter(Boolean)
  const onTime = isTime(kind)
  const onNumbers = isNumber(kind) && drawing.shape !== 'bar'
  const position = (cell: Cell): string | number => (cell === null ? 'NULL' : onTime ? String(cell) : onNumbers ? (numeric(cell) ?? 0) : shown(cell, kind))
  const labels = onTime || onNumbers ? [] : [...new Set(rows.map((row) => String(position(row[x] ?? null))))]
  return {
    hidden: hidden.join('; '),
    option: {
      tooltip: { trigger: drawing.shape === 'scatter' ? 'item' : 'axis' },
      ...(drawn.length > 1 ? { legend: { top: 0 } } : {}),
      grid: { left: 8, right: 16, top: drawn.length > 1 ? 40 : 32, bottom: 28, containLabel: true },
      useUTC: true,
      xAxis: { type: onTime ? 'time' : onNumbers ? 'value' : 'category', name: drawing.x, nameLocation: 'middle', nameGap: 30, ...(labels.length ? { data: labels } : {}), ...(onNumbers ? { scale: true } : {}) },
      yAxis: { type: 'value', name: drawing.y.length === 1 ? drawing.y[0] : '', scale: drawing.shape === 'scatter' },
      series: drawn.map((one) => ({
        name: one.name,
        type: drawing.shape === 'area' ? 'line' : drawing.shape,
        ...(drawing.shape === 'area' ? { areaStyle: { opacity: 0.18 } } : {}),
        showSymbol: one.points.length < 60,
        symbolSize: drawing.shape === 'scatter' ? 7 : 5,
        barMaxWidth: 36,
        data: one.points.map(([at, value]) => [position(at), value]),
      })),
    },
  }
}
