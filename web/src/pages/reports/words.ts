/** Values of reports as people read them. */
import { count, decimal, duration, percent, short } from '../../lib/format'
import type { Column, Scalar, Unit } from './model'

const WEEKDAYS = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday']
const LEVELS = ['fine', 'warning', 'alarm']

/** A figure, exactly enough. */
export function figure(value: Scalar | undefined, unit: Unit | null): string {
  if (value === null || value === undefined) return '–'
  const number = Number(value)
  switch (unit) {
    case 'share':
      return percent(number)
    case 'money':
      return decimal(number, 2)
    case 'seconds':
      return duration(number)
    case 'number':
      return decimal(number, 2)
    case 'level':
      return LEVELS[number] ?? String(value)
    default:
      return count(number)
  }
}

/** For axes and labels. */
export function shortFigure(value: Scalar | undefined, unit: Unit | null): string {
  if (value === null || value === undefined) return '–'
  if (unit === 'count' || unit === 'money') return short(Number(value))
  if (unit === 'share') return `${Number((Number(value) * 100).toFixed(Math.abs(Number(value)) < 0.01 ? 2 : 1))} %`
  return figure(value, unit)
}

export const UNIT_WORDS: Record<Unit, string> = { count: 'number', share: 'share in %', money: 'amount', seconds: 'time', number: 'average', level: 'level' }

const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' })
const month = new Intl.DateTimeFormat('en-GB', { month: 'short', year: 'numeric', timeZone: 'UTC' })

/** A value of a dimension; `zone` is the report's. */
export function valueOf(value: Scalar | undefined, column: Pick<Column, 'name' | 'type'>, zone: string): string {
  if (value === null || value === undefined) return '(unknown)'
  if (value === '') return '(empty)'
  if (column.type === 'truth') return value ? 'yes' : 'no'
  if (column.name.endsWith('_weekday')) return WEEKDAYS[Number(value) - 1] ?? String(value)
  if (column.name.endsWith('_hour_of_day')) return `${String(value).padStart(2, '0')}:00`
  if (column.type === 'day') {
    const at = new Date(`${String(value)}T00:00:00Z`)
    return /month$/.test(column.name) ? month.format(at) : /week$/.test(column.name) ? `week of ${day.format(at)}` : day.format(at)
  }
  if (column.type === 'time') {
    return new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', timeZone: zone }).format(new Date(String(value)))
  }
  return String(value)
}

/** +12.3 % against before; for shares the points between them. */
export function change(now: Scalar | undefined, before: Scalar | undefined, unit: Unit | null): string {
  if (typeof now !== 'number' || typeof before !== 'number') return '–'
  const sign = (value: number): string => (value > 0 ? '+' : value < 0 ? '−' : '±')
  if (unit === 'share') {
    const points = (now - before) * 100
    return `${sign(Number(points.toFixed(2)))}${Math.abs(points).toFixed(Math.abs(points) < 1 ? 2 : 1)} pts`
  }
  if (before === 0) return now === 0 ? '±0 %' : 'new'
  const share = ((now - before) / Math.abs(before)) * 100
  return `${sign(Number(share.toFixed(1)))}${Math.abs(share) >= 1000 ? count(Math.abs(share)) : Math.abs(share).toFixed(1)} %`
}

const moment = (zone: string): Intl.DateTimeFormat => new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit', timeZone: zone })

/** 24 Oct 2026, 00:00 to 22 Nov 2026, 14:00 (Europe/Berlin). */
export function period(since: string | null, until: string | null, zone: string): string {
  const at = (text: string): string => moment(zone).format(new Date(text)).replace(', 00:00', '')
  if (!since && !until) return 'all time'
  if (!until) return `since ${at(since as string)} (${zone})`
  if (!since) return `until ${at(until)} (${zone})`
  return `${at(since)} to before ${at(until)} (${zone})`
}
