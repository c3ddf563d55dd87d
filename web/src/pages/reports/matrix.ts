/** An answer as a table of texts: rows one below the other, or as a pivot with series for columns. Pure. */
import { columnsOf, measuresOf, named } from './lines'
import type { Column, Crossing, Row, Scalar, TableAnswer } from './model'
import { change, figure, valueOf } from './words'

export interface Head {
  title: string
  /** What it can be sorted by; empty for nothing. */
  name: string
  sentence: string
  isNumber: boolean
}
export interface MatrixRow {
  keys: string[]
  cells: string[]
  /** Against the period before, beside each cell; null where none was asked. */
  changes: string[] | null
  kind: 'row' | 'rest' | 'total'
}
export interface Matrix {
  keyHeads: Head[]
  /** Over the heads, each with how many it spans; null where there is one line of heads. */
  groups: { title: string; span: number }[] | null
  heads: Head[]
  rows: MatrixRow[]
}

const key = (values: readonly Scalar[]): string => JSON.stringify(values)

function cellsOf(row: Row | undefined, offset: number, measures: readonly Column[]): Scalar[] {
  return measures.map((_, index) => row?.[offset + index] ?? null)
}
function texts(values: readonly Scalar[], measures: readonly Column[]): string[] {
  return values.map((value, index) => figure(value, measures[index % measures.length]?.unit ?? null))
}
function changes(now: readonly Scalar[], before: readonly Scalar[] | null, measures: readonly Column[]): string[] | null {
  return before && now.map((value, index) => change(value, before[index], measures[index % measures.length]?.unit ?? null))
}

export function headOf(column: Column): Head {
  return { title: column.title, name: column.name, sentence: column.sentence, isNumber: column.kind === 'measure' || column.type === 'number' }
}

/** A row for each group, its dimensions first. */
export function flat(answer: TableAnswer): Matrix {
  const names = [...answer.rows, ...answer.series]
  const columns = columnsOf(answer, names)
  const measures = measuresOf(answer)
  const size = names.length
  const before = answer.before ? new Map(answer.before.cells.map((row) => [key(row.slice(0, size)), row])) : null
  const rows: MatrixRow[] = answer.table.cells.map((row) => {
    const cells = cellsOf(row, size, measures)
    const then = before ? cellsOf(before.get(key(row.slice(0, size))), size, measures) : null
    return { keys: columns.map((column, index) => valueOf(row[index], column, answer.zone)), cells: texts(cells, measures), changes: changes(cells, then, measures), kind: 'row' }
  })
  const left = answer.rows_in_all - answer.shown
  const after = (crossing: readonly Row[], then: readonly Row[] | undefined, title: string, kind: MatrixRow['kind']): void => {
    if (!crossing.length || !size) return
    const cells = cellsOf(crossing[0], 0, measures)
    rows.push({ keys: [title, ...columns.slice(1).map(() => '')], cells: texts(cells, measures), changes: changes(cells, answer.before ? cellsOf(then?.[0], 0, measures) : null, measures), kind })
  }
  if (left > 0 && !answer.series.length) after(answer.table.rest_rows, answer.before?.rest_rows, `Other (${left})`, 'rest')
  after(answer.table.whole, answer.before?.whole, 'All', 'total')
  return { keyHeads: columns.map(headOf), groups: null, heads: measures.map(headOf), rows }
}

/** Series as columns, with what is left of them and all of them at the end. */
export function pivot(answer: TableAnswer): Matrix {
  const measures = measuresOf(answer)
  const rowColumns = columnsOf(answer, answer.rows)
  const seriesColumns = columnsOf(answer, answer.series)
  const width = answer.rows.length
  const size = width + answer.series.length
  const hasTotals = answer.table.whole.length > 0
  const seriesKeys = distinct(answer.table.by_series.length ? answer.table.by_series.map((row) => row.slice(0, answer.series.length)) : answer.table.cells.map((row) => row.slice(width, size)))
  const rowKeys = distinct(answer.table.by_row.length ? answer.table.by_row.map((row) => row.slice(0, width)) : answer.table.cells.map((row) => row.slice(0, width)))
  const leftSeries = answer.series_in_all - answer.series_shown
  const leftRows = answer.rows_in_all - answer.shown
  const hasRest = hasTotals && leftSeries > 0 && answer.table.rest_series.length > 0
  const groups = [...seriesKeys.map((one) => named(one, seriesColumns, answer.zone)), ...(hasRest ? [`Other (${leftSeries})`] : []), ...(hasTotals ? ['All'] : [])]
  const of = (crossing: Crossing): ((rowKey: readonly Scalar[] | 'rest' | 'all') => Scalar[]) => {
    const cells = new Map(crossing.cells.map((row) => [key(row.slice(0, size)), row]))
    const find = (rows: readonly Row[], wanted: readonly Scalar[]): Row | undefined => rows.find((row) => key(row.slice(0, wanted.length)) === key(wanted))
    return (rowKey) => {
      const found: Scalar[] = []
      for (const series of seriesKeys) {
        if (rowKey === 'rest') found.push(...cellsOf(find(crossing.rest_by_series, series), series.length, measures))
        else if (rowKey === 'all') found.push(...cellsOf(find(crossing.by_series, series), series.length, measures))
        else found.push(...cellsOf(cells.get(key([...rowKey, ...series])), size, measures))
      }
      if (hasRest) {
        if (rowKey === 'rest') found.push(...cellsOf(crossing.rest_both[0], 0, measures))
        else if (rowKey === 'all') found.push(...cellsOf(crossing.rest_series[0], 0, measures))
        else found.push(...cellsOf(find(crossing.rest_by_row, rowKey), width, measures))
      }
      if (hasTotals) {
        if (rowKey === 'all') found.push(...cellsOf(crossing.whole[0], 0, measures))
        else if (rowKey === 'rest') found.push(...cellsOf(crossing.rest_rows[0], 0, measures))
        else found.push(...cellsOf(width ? find(crossing.by_row, rowKey) : crossing.whole[0], width ? width : 0, measures))
      }
      return found
    }
  }
  const now = of(answer.table)
  const before = answer.before ? of(answer.before) : null
  const row = (which: readonly Scalar[] | 'rest' | 'all', keys: string[], kind: MatrixRow['kind']): MatrixRow => {
    const cells = now(which)
    return { keys, cells: texts(cells, measures), changes: changes(cells, before ? before(which) : null, measures), kind }
  }
  const blank = rowColumns.slice(1).map(() => '')
  const rows = rowKeys.map((one) => row(one, rowColumns.map((column, index) => valueOf(one[index], column, answer.zone)), 'row'))
  if (width && hasTotals && leftRows > 0 && answer.table.rest_by_series.length) rows.push(row('rest', [`Other (${leftRows})`, ...blank], 'rest'))
  if (width && hasTotals) rows.push(row('all', ['All', ...blank], 'total'))
  return {
    keyHeads: rowColumns.map(headOf),
    groups: groups.map((title) => ({ title, span: measures.length })),
    heads: groups.flatMap(() => measures.map((column) => ({ ...headOf(column), name: '' }))),
    rows,
  }
}

function distinct(keys: readonly (readonly Scalar[])[]): (readonly Scalar[])[] {
  return [...new Map(keys.map((one) => [key(one), one])).values()]
}
