/** Lines as a chart: the option for ECharts, its height, and what of the answer is not in it. Pure. */
import type { ChartOption } from '../../lib/components/Chart.svelte'
import { linesOf, measuresOf, MOST_MEASURES, named, columnsOf, type Line, type Lines } from './lines'
import { isOrdinal, isTime, type DrawnKind, type Scalar, type TableAnswer, type Unit } from './model'
import { figure, shortFigure, UNIT_WORDS } from './words'

export interface Palette {
  series: string[]
  muted: string
  text: string
  low: string
  high: string
}
export interface Drawing {
  option: ChartOption
  height: number
  label: string
  notes: string[]
}
const UNITS: readonly Unit[] = ['count', 'money', 'share', 'number', 'seconds', 'level']

interface Panel {
  unit: Unit
  lines: Line[]
}

export function drawingOf(answer: TableAnswer, kind: Exclude<DrawnKind, 'table' | 'pivot'>, palette: Palette, width: number): Drawing {
  if (kind === 'heat') return heat(answer, palette, width)
  if (kind === 'funnel') return funnel(answer, palette)
  const lines = linesOf(answer, kind === 'bar' || kind === 'stacked')
  const notes = notesOf(answer, lines)
  if (kind === 'stacked') {
    const out = lines.lines.filter((line) => line.unit !== 'count' && line.unit !== 'money')
    if (out.length) notes.push(`Not stacked, as they do not add up: ${[...new Set(out.map((line) => line.measure.title))].join(', ')}.`)
    const people = lines.lines.find((line) => line.measure.name.includes('recipients'))
    if (people) notes.push(`${people.measure.title}: the same person may be in several parts of a stack.`)
    lines.lines = lines.lines.filter((line) => !out.includes(line))
  }
  const panels = UNITS.map((unit) => ({ unit, lines: lines.lines.filter((line) => line.unit === unit) })).filter((panel) => panel.lines.length)
  const turned = (kind === 'bar' || kind === 'stacked') && !lines.isTime && isLong(lines.axis, width)
  const drawn = turned ? sideways(lines, panels, kind, palette, width) : upright(lines, panels, kind, palette, width)
  return { ...drawn, notes, label: labelOf(answer, lines, kind) }
}

function isLong(axis: readonly string[], width: number): boolean {
  const longest = Math.max(0, ...axis.map((one) => one.length))
  return axis.length * Math.min(longest, 22) * 7 > width || longest > 26
}

function notesOf(answer: TableAnswer, lines: Lines): string[] {
  const notes: string[] = []
  if (lines.measuresInAll > lines.measures.length) notes.push(`Drawn are the first ${MOST_MEASURES} of ${lines.measuresInAll} figures; the table has all.`)
  const rows = answer.rows.length ? [answer.rows_in_all, answer.shown, 'rows'] : [0, 0, '']
  for (const [all, shown, word] of [rows, [answer.series_in_all, answer.series_shown, 'series']] as [number, number, string][]) {
    if (all > shown) notes.push(`${shown} of ${all} ${word} are shown${lines.axis.some((one) => one.startsWith('Other (')) || lines.lines.some((line) => line.colour === null) ? ', the rest as Other' : '; the table has all'}.`)
  }
  return notes
}

function labelOf(answer: TableAnswer, lines: Lines, kind: DrawnKind): string {
  const series = columnsOf(answer, answer.series).map((column) => column.title)
  return `${kind} chart of ${lines.measures.map((one) => one.title).join(', ')}${lines.axisTitle ? ` by ${lines.axisTitle}` : ''}${answer.rows.length && series.length ? ` and ${series.join(', ')}` : ''}; the figures are in the table below`
}

const colourOf = (line: Line, palette: Palette): string => (line.colour === null ? palette.muted : (palette.series[line.colour % palette.series.length] ?? palette.muted))

/** A point whose neighbours are not there would not be seen as a line. */
function points(values: readonly (number | null)[]): unknown[] {
  return values.map((value, index) => {
    const alone = value !== null && (values[index - 1] ?? null) === null && (values[index + 1] ?? null) === null
    return alone ? { value, symbolSize: 6 } : value
  })
}

function seriesOf(line: Line, kind: DrawnKind, panel: number, stack: string | undefined, palette: Palette, isFew: boolean, before: boolean): unknown {
  const colour = colourOf(line, palette)
  const values = before ? (line.before ?? []) : line.values
  const base = { name: before ? `${line.name} (before)` : line.name, xAxisIndex: panel, yAxisIndex: panel, itemStyle: { color: colour, opacity: before ? 0.4 : 1 } }
  if (kind === 'bar' || (kind === 'stacked' && stack === undefined)) return { ...base, type: 'bar', data: values, barMaxWidth: 34, ...(stack ? { stack } : {}) }
  if (kind === 'stacked') return { ...base, type: 'bar', data: values, stack: before ? `${stack} before` : stack, barMaxWidth: 34 }
  return {
    ...base,
    type: 'line',
    data: points(values),
    symbol: 'circle',
    symbolSize: isFew ? 5 : 0,
    showAllSymbol: true,
    connectNulls: false,
    lineStyle: { color: colour, width: 2, type: before ? 'dashed' : 'solid', opacity: before ? 0.5 : 1 },
    ...(kind === 'area' && !before ? { areaStyle: { color: colour, opacity: 0.16 } } : {}),
  }
}

function allSeries(panels: readonly Panel[], kind: DrawnKind, palette: Palette, length: number): unknown[] {
  return panels.flatMap((panel, index) =>
    panel.lines.flatMap((line) => {
      const stack = kind === 'stacked' ? line.measure.name : undefined
      const now = seriesOf(line, kind, index, stack, palette, length <= 45, false)
      return line.before?.some((value) => value !== null) ? [seriesOf(line, kind, index, stack, palette, length <= 45, true), now] : [now]
    }),
  )
}

function tooltip(lines: readonly Line[]): unknown {
  const byName = new Map(lines.map((line) => [line.name, line.unit]))
  return {
    trigger: 'axis',
    axisPointer: { type: 'shadow', shadowStyle: { opacity: 0.08 } },
    formatter: (given: unknown) => {
      const entries = given as { axisValueLabel?: string; name: string; seriesName: string; value: number | null | undefined }[]
      const rows = entries.map((one) => `${one.seriesName}: ${figure(one.value ?? null, byName.get(one.seriesName.replace(/ \(before\)$/, '')) ?? 'count')}`)
      return [entries[0]?.axisValueLabel ?? entries[0]?.name ?? '', ...rows.slice(0, 24), ...(rows.length > 24 ? [`and ${rows.length - 24} more`] : [])].join('\n')
    },
  }
}

const panelTitle = (panel: Panel): string => {
  const titles = [...new Set(panel.lines.map((line) => line.measure.title))]
  return titles.length === 1 ? `${titles[0]} (${UNIT_WORDS[panel.unit]})` : `${UNIT_WORDS[panel.unit][0]?.toUpperCase()}${UNIT_WORDS[panel.unit].slice(1)}`
}

const HEAD = 34
function upright(lines: Lines, panels: readonly Panel[], kind: DrawnKind, palette: Palette, width: number): { option: ChartOption; height: number } {
  const each = panels.length === 1 ? 320 : panels.length === 2 ? 210 : 170
  const hasLegend = lines.lines.length > 1 || lines.lines.some((line) => line.before)
  const top = hasLegend ? HEAD : 4
  const below = 34
  const height = top + panels.length * (each + HEAD) + below
  const rotated = !lines.isTime && lines.axis.some((one) => one.length > 12) && width / Math.max(1, lines.axis.length) < 90
  return {
    height,
    option: {
      legend: hasLegend ? { top: 0, left: 0, right: 0, data: lines.lines.map((line) => line.name) } : undefined,
      tooltip: tooltip(lines.lines) as object,
      axisPointer: { link: [{ xAxisIndex: 'all' }] },
      grid: panels.map((_, index) => ({ left: 64, right: 28, top: top + index * (each + HEAD) + HEAD, height: each - (index === panels.length - 1 && rotated ? 30 : 0) })),
      xAxis: panels.map((_, index) => ({ type: 'category', gridIndex: index, data: lines.axis, boundaryGap: kind === 'bar' || kind === 'stacked', axisLabel: { show: index === panels.length - 1, hideOverlap: true, alignMaxLabel: rotated ? undefined : 'right', ...(rotated ? { rotate: 30, overflow: 'truncate', width: 120, interval: 0 } : {}) } })),
      yAxis: panels.map((panel, index) => ({ type: 'value', gridIndex: index, name: panelTitle(panel), nameLocation: 'end', nameGap: 12, nameTextStyle: { align: 'left', padding: [0, 0, 0, -54] }, min: 0, ...lowest(panel), splitNumber: 4, axisLabel: { formatter: (value: number) => shortFigure(value, panel.unit) } })),
      series: allSeries(panels, kind, palette, lines.axis.length),
    },
  }
}

/** Amounts below nothing are shown below the line; no share is above all. */
function lowest(panel: Panel): object {
  const values = panel.lines.flatMap((line) => [...line.values, ...(line.before ?? [])]).filter((value): value is number => value !== null)
  if (panel.unit === 'share' && values.every((value) => value >= 0 && value <= 1) && values.some((value) => value > 0.85)) return { max: 1 }
  return values.some((value) => value < 0) ? { min: undefined } : {}
}

function sideways(lines: Lines, panels: readonly Panel[], kind: DrawnKind, palette: Palette, width: number): { option: ChartOption; height: number } {
  const most = Math.max(...panels.map((panel) => (kind === 'stacked' ? 1 : panel.lines.length) * (panel.lines.some((line) => line.before) ? 2 : 1)))
  const beside = panels.length * 220 + 160 < width
  const columns = beside ? panels.length : 1
  const hasLegend = lines.lines.length > 1 || lines.lines.some((line) => line.before)
  const top = hasLegend ? HEAD : 4
  const body = Math.max(80, lines.axis.length * Math.max(24, 8 + most * 12))
  const names = Math.min(220, width * 0.4, 24 + Math.max(...lines.axis.map((one) => one.length), 0) * 6.6)
  const share = (width - names - 24) / columns
  const height = top + (beside ? 1 : panels.length) * (body + HEAD + 40)
  return {
    height,
    option: {
      legend: hasLegend ? { top: 0, left: 0, right: 0, data: lines.lines.map((line) => line.name) } : undefined,
      tooltip: tooltip(lines.lines) as object,
      grid: panels.map((_, index) => ({ left: names + (beside ? index * share : 0) + 4, width: share - 24, top: top + (beside ? 0 : index * (body + HEAD + 40)) + HEAD + 14, height: body })),
      xAxis: panels.map((panel, index) => ({ type: 'value', gridIndex: index, name: panelTitle(panel), nameLocation: 'start', position: 'top', nameGap: 0, nameTextStyle: { align: 'left', verticalAlign: 'bottom', padding: [0, 0, 24, 0] }, min: 0, ...lowest(panel), splitNumber: 3, axisLabel: { alignMinLabel: 'left', alignMaxLabel: 'right', hideOverlap: true, formatter: (value: number) => shortFigure(value, panel.unit) } })),
      yAxis: panels.map((_, index) => ({ type: 'category', gridIndex: index, data: lines.axis, inverse: true, axisLabel: { show: !beside || index === 0, width: names - 16, overflow: 'truncate', interval: 0 } })),
      series: allSeries(panels, kind, palette, lines.axis.length),
    },
  }
}

function funnel(answer: TableAnswer, palette: Palette): Drawing {
  const measures = measuresOf(answer).filter((column) => column.unit === 'count')
  const all = measuresOf(answer)
  const names = [...answer.rows, ...answer.series]
  const columns = columnsOf(answer, names)
  const parts = names.length ? answer.table.cells.slice(0, 6) : answer.table.whole.length ? answer.table.whole : answer.table.cells
  const offset = (row: readonly Scalar[]): number => row.length - all.length
  const notes = all.length > measures.length ? ['A funnel shows counts only; rates and amounts are in the table.'] : []
  if (names.length && answer.rows_in_all > parts.length) notes.push(`${parts.length} of ${answer.rows_in_all} rows are shown; the table has all.`)
  const first = measures[0]?.title ?? ''
  const series = parts.map((row, place) => {
    const figures = measures.map((column) => Number(row[offset(row) + all.indexOf(column)] ?? 0))
    return {
      name: names.length ? named(row.slice(0, names.length), columns, answer.zone) : 'All',
      type: 'bar',
      barMaxWidth: 40,
      itemStyle: { color: palette.series[place % palette.series.length], borderRadius: [0, 4, 4, 0] },
      data: figures,
      label: { show: parts.length <= 2, position: 'right', color: palette.text, formatter: (one: { value: number; dataIndex: number }) => `${figure(one.value, 'count')}${one.dataIndex && figures[0] ? `   ${figure(one.value / figures[0], 'share')} of ${first}` : ''}` },
    }
  })
  const hasLegend = parts.length > 1
  const height = (hasLegend ? HEAD : 4) + 24 + measures.length * Math.max(44, 12 + parts.length * 16)
  return {
    height,
    notes,
    label: `funnel of ${measures.map((one) => one.title).join(', ')}; the figures are in the table below`,
    option: {
      legend: hasLegend ? { top: 0, left: 0, right: 0 } : undefined,
      tooltip: tooltip(measures.map((measure) => ({ name: '', measure, unit: 'count', values: [], before: null, colour: 0 }))) as object,
      grid: { left: 8, right: parts.length <= 2 ? 190 : 24, top: hasLegend ? HEAD : 4, bottom: 8, containLabel: true },
      xAxis: { type: 'value', axisLabel: { formatter: (value: number) => shortFigure(value, 'count') }, splitNumber: 4 },
      yAxis: { type: 'category', inverse: true, data: measures.map((one) => one.title) },
      series,
    },
  }
}

function heat(answer: TableAnswer, palette: Palette, width: number): Drawing {
  const names = [...answer.rows, ...answer.series]
  const all = measuresOf(answer)
  const measure = all[0]
  const unit = measure?.unit ?? 'count'
  const notes = all.length > 1 ? [`Drawn is ${measure?.title}, the first figure; the table has all.`] : []
  const [yName = '', xName = ''] = names
  const axis = (at: number): { words: string[]; place: Map<string, number> } => {
    const field = names[at] ?? ''
    const known = [...new Set(answer.table.cells.map((row) => JSON.stringify(row[at] ?? null)))].map((text) => JSON.parse(text) as Scalar)
    const order = isTime(field) || isOrdinal(field) ? [...filled(field, known)] : known
    return { words: order.map((value) => named([value], columnsOf(answer, [field]), answer.zone)), place: new Map(order.map((value, index) => [JSON.stringify(value), index])) }
  }
  const y = axis(0)
  const x = axis(1)
  const data = answer.table.cells.map((row) => [x.place.get(JSON.stringify(row[1] ?? null)) ?? 0, y.place.get(JSON.stringify(row[0] ?? null)) ?? 0, row[names.length] ?? '-'])
  const figures = answer.table.cells.map((row) => row[names.length]).filter((value): value is number => typeof value === 'number')
  if (answer.rows_in_all > answer.shown) notes.push(`${answer.shown} of ${answer.rows_in_all} rows are shown; the table has all.`)
  if (answer.series_in_all > answer.series_shown) notes.push(`${answer.series_shown} of ${answer.series_in_all} columns are shown; the table has all.`)
  const height = 90 + y.words.length * 30
  return {
    height,
    notes,
    label: `heat map of ${measure?.title ?? ''} by ${columnsOf(answer, [yName, xName]).map((column) => column.title).join(' and ')}; the figures are in the table below`,
    option: {
      grid: { left: 8, right: 12, top: 44, bottom: 8, containLabel: true },
      tooltip: { formatter: (given: unknown) => { const one = given as { value: [number, number, number] }; return `${y.words[one.value[1]]} · ${x.words[one.value[0]]}\n${measure?.title}: ${figure(one.value[2], unit)}` } },
      xAxis: { type: 'category', data: x.words, splitArea: { show: false }, axisLabel: { hideOverlap: true } },
      yAxis: { type: 'category', data: y.words, inverse: true, axisLabel: { width: 180, overflow: 'truncate' } },
      visualMap: { type: 'continuous', min: Math.min(0, ...figures), max: Math.max(...figures, 0) || 1, calculable: false, orient: 'horizontal', left: 0, top: 0, itemHeight: 120, itemWidth: 10, text: [`${shortFigure(Math.max(...figures, 0), unit)} ${measure?.title ?? ''}`, shortFigure(Math.min(0, ...figures), unit)], textStyle: { color: palette.muted }, inRange: { color: [palette.low, palette.high] } },
      series: [{ type: 'heatmap', data, label: { show: data.length <= 400 && (width - 120) / Math.max(1, x.words.length) > 46, formatter: (one: { value: [number, number, number] }) => shortFigure(one.value[2], unit), color: palette.text, textBorderColor: palette.low, textBorderWidth: 2, fontSize: 10 }, itemStyle: { borderColor: 'transparent', borderWidth: 1 } }],
    },
  }
}

function filled(field: string, known: readonly Scalar[]): Scalar[] {
  if (field.endsWith('_weekday')) return [1, 2, 3, 4, 5, 6, 7]
  if (field.endsWith('_hour_of_day')) return Array.from({ length: 24 }, (_, hour) => hour)
  return [...known].sort((a, b) => (typeof a === 'number' && typeof b === 'number' ? a - b : String(a) < String(b) ? -1 : 1))
}
