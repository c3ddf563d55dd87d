/** Figures by the names of their measures: what each is, how it is written, and what rows of counts add up to. */
import { api } from '../../lib/api/client'
import type { Schema } from '../../lib/api/types'
import { count, decimal, duration, percent } from '../../lib/format'

export type Measure = Schema<'MeasureShown'>
export type Unit = Measure['unit']
export type Figures = Record<string, number | null | undefined>

let asked: Promise<ReadonlyMap<string, Measure>> | null = null

/** All measures that are defined, by name; asked for once. */
export function measures(): Promise<ReadonlyMap<string, Measure>> {
  asked ??= api
    .get<Measure[]>('/reports/measures')
    .then((all) => new Map(all.map((one) => [one.name, one])))
    .catch((error: unknown) => {
      asked = null
      throw error
    })
  return asked
}

export interface Alarm {
  kind: 'warn' | 'bad'
  word: 'warning' | 'alarm'
  says: string
}

/** What a campaign's spam rate says to whoever sends: a warning from 0.1 % on, an alarm from 0.3 % on. */
export function alarmOf(figures: Figures): Alarm | null {
  if (figures.spam_alarm === 2) return { kind: 'bad', word: 'alarm', says: `${percent(figures.spam_rate)} of the delivered messages were marked as spam, 0.3 % or more` }
  if (figures.spam_alarm === 1) return { kind: 'warn', word: 'warning', says: `${percent(figures.spam_rate)} of the delivered messages were marked as spam, 0.1 % or more` }
  return null
}

const LEVELS = ['fine', 'from 0.1 % on', 'from 0.3 % on']

export function written(value: number | null | undefined, unit: Unit | undefined): string {
  if (value === null || value === undefined) return '–'
  if (unit === 'share') return percent(value)
  if (unit === 'money' || unit === 'number') return decimal(value)
  if (unit === 'seconds') return duration(value)
  if (unit === 'level') return LEVELS[value] ?? String(value)
  return count(value)
}

/** +1.2 points, −3,021, +0.04: a difference with its sign and unit. */
export function difference(value: number | null | undefined, unit: Unit | undefined): string {
  if (value === null || value === undefined) return '–'
  const sign = value > 0 ? '+' : value < 0 ? '−' : '±'
  const size = Math.abs(value)
  if (unit === 'share') return `${sign}${(size * 100).toFixed(size !== 0 && size < 0.01 ? 2 : 1)} points`
  return sign + written(size, unit)
}

/** Of more is this good (1), bad (-1), or neither (0). */
export function direction(measure: string): number {
  if (/bounce|unsubscribe|spam|machine_share|machine_only|^time_to/.test(measure)) return -1
  if (/^(sent|delivered|recipients)$/.test(measure)) return 0
  return 1
}

/**
 * A figure of several rows together: counts and amounts are added up, rates divide these sums. Null where rows do not add up, as with orders that
 * count once for each mail that touched them.
 */
export function together(rows: readonly Figures[], name: string, known: ReadonlyMap<string, Measure>, addsUp: (name: string) => boolean = () => true): number | null {
  const measure = known.get(name)
  if (!measure) return null
  if (measure.numerator && measure.denominator) {
    const above = together(rows, measure.numerator, known, addsUp)
    const below = together(rows, measure.denominator, known, addsUp)
    if (above === null || !below) return null
    const share = above / below
    return measure.unit === 'level' ? (share >= 0.003 ? 2 : share >= 0.001 ? 1 : 0) : share
  }
  if (measure.unit !== 'count' && measure.unit !== 'money') return null
  if (!addsUp(name)) return null
  let sum = 0
  for (const row of rows) sum += row[name] ?? 0
  return sum
}

/** By name, out of an answer's columns and a row of them. */
export function byName(columns: readonly { name: string }[], row: readonly unknown[]): Figures {
  return Object.fromEntries(columns.map((column, index) => [column.name, row[index] as number | null]))
}

/** Objects out of a report's answer. */
export function objects(answer: { columns: readonly { name: string }[]; rows: readonly (readonly unknown[])[] } | undefined): Record<string, string | number | null>[] {
  if (!answer) return []
  return answer.rows.map((row) => Object.fromEntries(answer.columns.map((column, index) => [column.name, row[index] as string | number | null])))
}
