/** A mapping as a table: the kind's own fields with what was changed about them. The setting holds only the changes. Pure. */

export type Rule = unknown
export type Rules = Record<string, Rule>
/** By type of event; `*` is every type. null takes a type, or a field, out. */
export type Mapping = Record<string, Rules | null>

export interface Row {
  field: string
  rule: Rule
  /** Of the kind, changed, added by the user, or taken out. */
  state: 'own' | 'changed' | 'added' | 'gone'
  /** Set for every type, where this is one type. */
  everywhere: boolean
}

export const same = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other)

/** The rows of a type, in the order of the kind's own fields. */
export function rowsOf(own: Readonly<Record<string, Rules>>, changes: Mapping, type: string): Row[] {
  const base = own[type] ?? own['*'] ?? {}
  const everywhere = type === '*' ? {} : (changes['*'] ?? {})
  const here = changes[type] ?? {}
  const merged: Rules = { ...base, ...everywhere, ...here }
  return Object.entries(merged).map(([field, rule]) => {
    const was = base[field]
    const state = rule === null ? 'gone' : was === undefined ? 'added' : same(was, rule) ? 'own' : 'changed'
    return { field, rule: rule === null ? was : rule, state, everywhere: !(field in here) && field in everywhere }
  })
}

/** The changes with one field of a type put to a rule; undefined takes the change back. */
export function withField(own: Readonly<Record<string, Rules>>, changes: Mapping, type: string, field: string, rule: Rule | undefined): Mapping {
  const base = own[type] ?? own['*'] ?? {}
  const here: Rules = { ...(changes[type] ?? {}) }
  if (rule === undefined || (same(base[field], rule) && !(changes['*'] && field in changes['*']))) delete here[field]
  else here[field] = rule
  const found: Mapping = { ...changes, [type]: here }
  if (!Object.keys(here).length) delete found[type]
  return found
}

export type Form = 'path' | 'constant' | 'template'

export function formOf(rule: Rule): Form {
  if (typeof rule === 'object' && rule !== null) return 'template' in rule ? 'template' : 'constant'
  return 'path'
}

/** What stands in the field of the form: a path, a text with holes, a value. */
export function textOf(rule: Rule): string {
  if (typeof rule === 'string') return rule
  if (typeof rule === 'object' && rule !== null) {
    if ('template' in rule) return String((rule as { template: unknown }).template)
    const value = (rule as { constant?: unknown }).constant
    return typeof value === 'string' ? value : JSON.stringify(value ?? null)
  }
  return ''
}

/** The rule of a text; a constant that reads as a number, true, false, null or JSON is that. */
export function ruleOf(form: Form, text: string): Rule {
  if (form === 'template') return { template: text }
  if (form === 'path') return text
  try {
    return { constant: JSON.parse(text) as unknown }
  } catch {
    return { constant: text }
  }
}
