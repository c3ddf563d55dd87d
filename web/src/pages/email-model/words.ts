/** What the parts of the page about the e-mail model have in common. */
import type { Schema } from '../../lib/api/types'

export type Settings = Schema<'ModelSettings'>
export type Model = Schema<'EmailModelShown'>
export type Rules = Schema<'RulesShown'>
export type Rule = Schema<'Rule'>
export type Goal = Schema<'Goal'>
export type LabelRule = Schema<'LabelRule'>
/** Field, operator, value. */
export type Condition = Schema<'Condition'>

export const OPERATORS: Record<string, string> = {
  is: 'is',
  is_not: 'is not',
  in: 'is one of',
  not_in: 'is none of',
  contains: 'contains',
  contains_any: 'contains any of',
  starts_with: 'starts with',
  ends_with: 'ends with',
  less: 'is less than',
  at_most: 'is at most',
  more: 'is more than',
  at_least: 'is at least',
  known: 'is known',
  unknown: 'is unknown',
}

export const KINDS: Record<string, string> = { opened: 'opens', clicked: 'clicks', both: 'opens and clicks' }

export const isMany = (operator: string): boolean => operator === 'in' || operator === 'not_in' || operator === 'contains_any'
export const isBare = (operator: string): boolean => operator === 'known' || operator === 'unknown'

/** `seconds_after_delivery is less than 10`. */
export function inWords([field, operator, value]: Condition): string {
  const said = `${field} ${OPERATORS[operator] ?? operator}`
  if (isBare(operator)) return said
  return `${said} ${Array.isArray(value) ? value.join(', ') : String(value)}`
}

export const NAME = /^[a-z0-9][a-z0-9_]{0,62}$/
export const WRONG_NAME = 'Small letters, digits and _, for example signed_up.'
