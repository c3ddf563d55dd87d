/** Settings that a kind declares, as a form has them: labels, what is wrong before it is sent, and what has changed. */
import type { Problem } from './api/client'

/** As `GET /catalog/{room}/{kind}` tells them. */
export interface Setting {
  name: string
  type: 'text' | 'integer' | 'number' | 'boolean' | 'choice' | 'list' | 'mapping' | 'date' | 'json'
  default?: unknown
  description: string
  secret: boolean
  required: boolean
  choices?: readonly unknown[]
  minimum?: number | null
  maximum?: number | null
  is_above?: boolean
  own?: boolean
}

export type Values = Record<string, unknown>
export type Errors = Record<string, string>

const UNITS: Record<string, string> = { seconds: 'seconds', hours: 'hours', days: 'days', percent: '%', bytes: 'bytes' }
const SHORT: Record<string, string> = { api: 'API', url: 'URL', id: 'ID', dsn: 'DSN', pem: 'PEM', sasl: 'SASL', ca: 'CA', smtp: 'SMTP', sql: 'SQL', ip: 'IP' }

/** `request_timeout_seconds` -> Request timeout (seconds). */
export function labelOf(name: string): string {
  const words = name.split('_')
  const unit = words.length > 1 ? UNITS[words[words.length - 1] ?? ''] : undefined
  const shown = (unit ? words.slice(0, -1) : words).map((word) => SHORT[word] ?? word).join(' ')
  return `${shown.charAt(0).toUpperCase()}${shown.slice(1)}${unit ? ` (${unit})` : ''}`
}

export const isEmpty = (value: unknown): boolean =>
  value === null || value === undefined || value === '' || (Array.isArray(value) && !value.length) || (typeof value === 'object' && value !== null && !Object.keys(value).length)

/** A default in words, '' where it is nothing. */
export function defaultText(setting: Setting): string {
  if (isEmpty(setting.default)) return ''
  if (typeof setting.default === 'boolean') return setting.default ? 'on' : 'off'
  return typeof setting.default === 'object' ? JSON.stringify(setting.default) : String(setting.default)
}

/** What is wrong by name of setting: missing ones, numbers out of their bounds. */
export function check(settings: readonly Setting[], values: Values): Errors {
  const errors: Errors = {}
  for (const setting of settings) {
    const value = values[setting.name]
    if (setting.required && isEmpty(value)) errors[setting.name] = 'This is needed.'
    if (setting.type !== 'integer' && setting.type !== 'number') continue
    if (isEmpty(value)) continue
    const number = Number(value)
    if (Number.isNaN(number)) errors[setting.name] = 'Give a number.'
    else if (setting.type === 'integer' && !Number.isInteger(number)) errors[setting.name] = 'Give a whole number.'
    else if (typeof setting.minimum === 'number' && (setting.is_above ? number <= setting.minimum : number < setting.minimum)) errors[setting.name] = `Give ${setting.is_above ? 'more than' : 'at least'} ${setting.minimum}.`
    else if (typeof setting.maximum === 'number' && number > setting.maximum) errors[setting.name] = `Give at most ${setting.maximum}.`
  }
  return errors
}

/** Only what differs, as the API's PATCH takes it: null takes a setting back to its default. */
export function changes(before: Values, after: Values): Values {
  const found: Values = {}
  for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const [was, is] = [before[name], after[name]]
    if (JSON.stringify(was) === JSON.stringify(is)) continue
    found[name] = is === undefined || is === null ? null : is
  }
  return found
}

/** Those that were given at all, for a new source, warehouse or destination. */
export function given(settings: readonly Setting[], values: Values): Values {
  const found: Values = {}
  for (const setting of settings) {
    const value = values[setting.name]
    if (isEmpty(value) || JSON.stringify(value) === JSON.stringify(setting.default)) continue
    found[setting.name] = value
  }
  return found
}

/** What the API said of single settings ("... at `$.port`", "has no 'x'"), by their names. */
export function errorsOf(problem: Problem, settings: readonly Setting[]): Errors {
  const text = problem.detail
  const named = /`\$\.([a-z_0-9]+)/.exec(text)?.[1] ?? /required field `([a-z_0-9]+)`/.exec(text)?.[1] ?? settings.find((setting) => new RegExp(`\\b${setting.name}\\b`).test(text))?.name
  return named && settings.some((setting) => setting.name === named) ? { [named]: [problem.subject, problem.remedy].filter(Boolean).join('; ') } : {}
}
