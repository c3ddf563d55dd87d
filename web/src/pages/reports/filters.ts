/** Conditions in words, and which operators a type of field has. Pure. */
import type { Field } from './fields'
import type { Condition, Scalar } from './model'
import { figure, valueOf } from './words'

export const OPERATOR_WORDS: Record<string, string> = {
  is: 'is',
  is_not: 'is not',
  in: 'is one of',
  not_in: 'is none of',
  contains: 'contains',
  contains_any: 'contains one of',
  starts_with: 'begins with',
  ends_with: 'ends with',
  less: 'is less than',
  at_most: 'is at most',
  more: 'is more than',
  at_least: 'is at least',
  known: 'is known',
  unknown: 'is unknown',
}

export function operatorsOf(type: string, kind: Field['kind']): string[] {
  if (kind === 'measure') return ['more', 'at_least', 'less', 'at_most', 'is', 'is_not', 'known', 'unknown']
  if (type === 'text') return ['in', 'not_in', 'contains', 'starts_with', 'ends_with', 'known', 'unknown']
  if (type === 'number') return ['in', 'not_in', 'more', 'at_least', 'less', 'at_most', 'known', 'unknown']
  if (type === 'truth') return ['is', 'known', 'unknown']
  return ['at_least', 'less', 'more', 'at_most', 'known', 'unknown']
}

/** "is one of gmail.com, gmx.de and 3 more" */
export function inWords(condition: Condition, field: Field | undefined): string {
  const [name, operator, value] = condition
  const word = OPERATOR_WORDS[operator] ?? operator
  if (operator === 'known' || operator === 'unknown') return word
  const text = (one: unknown): string => (field?.kind === 'measure' ? figure(one as Scalar, field.unit) : valueOf(one as Scalar, { name, type: field?.type === 'truth' ? 'truth' : 'text' }, 'UTC'))
  if (Array.isArray(value)) {
    const shown = value.slice(0, 2).map(text).join(', ')
    const short = value.length === 1 ? (operator === 'in' ? 'is' : operator === 'not_in' ? 'is not' : word) : word
    return `${short} ${shown}${value.length > 2 ? ` and ${value.length - 2} more` : ''}`
  }
  return `${word} ${text(value)}`
}
