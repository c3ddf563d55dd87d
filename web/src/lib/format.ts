/** Numbers, times and sizes as people read them: always the same way, in the browser's language for digits and in English for words. */

/** A formatter takes milliseconds to make: each is made when it is first needed, and once. */
function once<T>(make: () => T): () => T {
  let made: T | undefined
  return () => (made ??= make())
}

const whole = once(() => new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 }))
const compact = once(() => new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 1 }))
const decimals = Array.from({ length: 21 }, (_, digits) => once(() => new Intl.NumberFormat('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })))

/** 12,345; null is a dash. */
export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? '–' : whole().format(value)
}

/** 12.3 k, 4.5 M for narrow places; exact below 10,000. */
export function short(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–'
  if (Math.abs(value) < 10_000) return whole().format(value)
  return compact().format(value)
}

/** 0.2345 -> 23.5 %; small shares keep two digits that say something. */
export function percent(share: number | null | undefined): string {
  if (share === null || share === undefined) return '–'
  const value = share * 100
  const digits = value !== 0 && Math.abs(value) < 1 ? 2 : 1
  return `${value.toFixed(digits)} %`
}

export function decimal(value: number | null | undefined, digits = 2): string {
  if (value === null || value === undefined) return '–'
  return (decimals[digits] ?? whole)().format(value)
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–'
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit += 1
  }
  return `${unit === 0 ? whole().format(value) : value.toFixed(1)} ${units[unit]}`
}

/** 0.4 s, 12 s, 3 min 5 s, 2 h 10 min, 4 d 3 h. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return '–'
  if (seconds < 0.0995) return `${Math.round(seconds * 1000)} ms`
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`
  if (seconds < 60) return `${Math.round(seconds)} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return Math.round(seconds % 60) ? `${minutes} min ${Math.round(seconds % 60)} s` : `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`
  return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${Math.floor(hours / 24)} d`
}

export function dateOf(time: string | number | Date): Date {
  if (time instanceof Date) return time
  if (typeof time === 'string' && !/[zZ]|[+-]\d\d:?\d\d$/.test(time)) return new Date(`${time}Z`)
  return new Date(time)
}

export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone

const clock = once(() => new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' }))
const dayAndClock = once(() => new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' }))
const dayYearAndClock = once(() => new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit' }))
const zoneName = once(() => new Intl.DateTimeFormat('en-GB', { timeZoneName: 'short' }))

/** 14:03:09 today, 3 Nov, 14:03 this year, with the year before; in the browser's zone. */
export function time(at: string | number | Date | null | undefined, now = new Date()): string {
  if (at === null || at === undefined) return '–'
  const date = dateOf(at)
  if (date.toDateString() === now.toDateString()) return clock().format(date)
  return (date.getFullYear() === now.getFullYear() ? dayAndClock : dayYearAndClock)().format(date)
}

/** In words beside an exact time: 5 s ago, 3 min ago, in 2 h. */
export function ago(at: string | number | Date | null | undefined, now = new Date()): string {
  if (at === null || at === undefined) return 'never'
  const seconds = (now.getTime() - dateOf(at).getTime()) / 1000
  if (Math.abs(seconds) < 1.5) return 'now'
  const size = Math.abs(seconds)
  const text =
    size < 60 ? `${Math.round(size)} s` : size < 3600 ? `${Math.round(size / 60)} min` : size < 172_800 ? `${Math.round(size / 3600)} h` : `${Math.round(size / 86_400)} d`
  return seconds >= 0 ? `${text} ago` : `in ${text}`
}

/** What a time shows on hover: 2026-11-22 14:03:09.123 CET, and the same in UTC. */
export function exact(at: string | number | Date): string {
  const date = dateOf(at)
  const zone = zoneName().formatToParts(date).find((part) => part.type === 'timeZoneName')?.value ?? ''
  const pad = (value: number, size = 2): string => String(value).padStart(size, '0')
  const local = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`
  return `${local} ${zone}${zone === 'UTC' ? '' : `\n${date.toISOString().replace('T', ' ').replace('Z', '')} UTC`}`
}

/** 1 event, 2 events. */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`
}
