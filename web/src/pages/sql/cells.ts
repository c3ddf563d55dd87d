/** Cells of an answer as people see, sort and copy them. Values stay as they came: no number is rounded. */
import type { Schema } from '../../lib/api/types'

export type Answer = Schema<'QueryAnswer'>
export type Column = Schema<'AnswerColumn'>
export type Kind = Column['kind']
export type Cell = string | number | boolean | null
export type Row = readonly Cell[]

const NUMBERS: ReadonlySet<Kind> = new Set<Kind>(['integer', 'float', 'decimal'])
export const isNumber = (kind: Kind): boolean => NUMBERS.has(kind)
export const isTime = (kind: Kind): boolean => kind === 'timestamp' || kind === 'date'

const LONGEST = 400

/** The text of a cell; NULL is told apart by whoever shows it. Moments have a blank for T, as SQL writes them. */
export function shown(cell: Cell, kind: Kind): string {
  if (cell === null) return 'NULL'
  if (typeof cell === 'number') return Object.is(cell, -0) ? '-0' : String(cell)
  if (typeof cell === 'boolean') return String(cell)
  return kind === 'timestamp' ? cell.replace('T', ' ') : cell
}

/** As `shown`, in one line and not longer than a screen is wide. */
export function inLine(cell: Cell, kind: Kind): string {
  const text = shown(cell, kind)
  const cut = text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text
  return cut.replaceAll(/\r\n|\r|\n/g, ' ⏎ ').replaceAll('\t', ' ⇥ ')
}

/** The number that a chart draws; null where there is none. */
export function numeric(cell: Cell): number | null {
  if (cell === null || typeof cell === 'boolean' || cell === '') return null
  const value = Number(cell)
  return Number.isFinite(value) ? value : null
}

const SPECIAL: Record<string, number> = { NaN: Infinity, Infinity, '-Infinity': -Infinity, infinity: Infinity, '-infinity': -Infinity }

function compareDigits(one: string, other: string): number {
  const [a = '', fractionA = ''] = one.split('.')
  const [b = '', fractionB = ''] = other.split('.')
  const length = Math.max(fractionA.length, fractionB.length)
  const left = BigInt(a + fractionA.padEnd(length, '0'))
  const right = BigInt(b + fractionB.padEnd(length, '0'))
  return left < right ? -1 : left > right ? 1 : 0
}

function compareNumbers(one: Cell, other: Cell): number {
  const [a, b] = [SPECIAL[String(one)] ?? Number(one), SPECIAL[String(other)] ?? Number(other)]
  if (a !== b) return a < b ? -1 : 1
  if (!Number.isFinite(a)) return (one === 'NaN' ? 1 : 0) - (other === 'NaN' ? 1 : 0)
  if (typeof one === 'number' && typeof other === 'number') return 0
  // Doubles are equal where the digits may not be.
  try {
    return compareDigits(String(one), String(other))
  } catch {
    return 0
  }
}

/** Order of two cells of a column; NULL is last, whichever way it is sorted. */
export function compare(one: Cell, other: Cell, kind: Kind): number {
  if (isNumber(kind)) return compareNumbers(one, other)
  if (isTime(kind)) {
    const [a, b] = [SPECIAL[String(one)] ?? 0, SPECIAL[String(other)] ?? 0]
    if (a !== b) return a < b ? -1 : 1
  }
  const [a, b] = [String(one), String(other)]
  return a < b ? -1 : a > b ? 1 : 0
}

/** The places of rows in the order of a column. */
export function sorted(rows: readonly Row[], column: number, kind: Kind, descending: boolean): number[] {
  const sign = descending ? -1 : 1
  return rows
    .map((_, index) => index)
    .sort((a, b) => {
      const [one, other] = [rows[a]?.[column] ?? null, rows[b]?.[column] ?? null]
      if (one === null || other === null) return one === other ? a - b : one === null ? 1 : -1
      return sign * compare(one, other, kind) || a - b
    })
}

/** Tab-separated, for spreadsheets: tabs and line breaks within a value become blanks, NULL becomes nothing. */
export function tsv(rows: readonly (readonly Cell[])[], kinds: readonly Kind[], names: readonly string[] = []): string {
  const clean = (text: string): string => text.replaceAll(/[\t\r\n]+/g, ' ')
  const lines = rows.map((row) => row.map((cell, index) => (cell === null ? '' : clean(shown(cell, kinds[index] ?? 'text')))).join('\t'))
  return [...(names.length ? [names.map(clean).join('\t')] : []), ...lines].join('\n')
}

/** JSON with indents; its numbers keep their digits, since nothing of it is computed. */
export function indented(json: string): string {
  let out = ''
  let depth = 0
  let inText = false
  for (let index = 0; index < json.length; index += 1) {
    const letter = json[index] as string
    if (inText) {
      out += letter
      if (letter === '\\') out += json[++index] ?? ''
      else if (letter === '"') inText = false
    } else if (letter === '"') {
      inText = true
      out += letter
    } else if (letter === '{' || letter === '[') {
      const rest = json.slice(index + 1).match(/^\s*[}\]]/)
      if (rest) {
        out += letter + rest[0].trim()
        index += rest[0].length
      } else {
        depth += 1
        out += `${letter}\n${'  '.repeat(depth)}`
      }
    } else if (letter === '}' || letter === ']') {
      depth = Math.max(0, depth - 1)
      out += `\n${'  '.repeat(depth)}${letter}`
    } else if (letter === ',') out += `,\n${'  '.repeat(depth)}`
    else if (letter === ':') out += ': '
    else if (!/\s/.test(letter)) out += letter
  }
  return out
}
