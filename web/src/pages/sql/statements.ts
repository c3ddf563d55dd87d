/** SQL as text: where a statement begins and ends, and which tables stand in it. Lexical, so that half-written SQL is read, too. */

export interface Part {
  kind: 'word' | 'quoted' | 'text' | 'comment' | 'mark'
  text: string
  from: number
  to: number
}

const TOKEN = /(--[^\n]*)|(\/\*(?:[^*]|\*(?!\/))*(?:\*\/)?)|('(?:[^']|'')*'?|\$([A-Za-z_]\w*)?\$[\s\S]*?(?:\$\4\$|$))|("(?:[^"]|"")*"?|`[^`]*`?)|([\p{L}_][\p{L}\p{N}_$]*)|([^\s])/gu

/** Everything but blanks. */
export function parts(sql: string): Part[] {
  const found: Part[] = []
  for (const match of sql.matchAll(TOKEN)) {
    const kind = match[1] !== undefined || match[2] !== undefined ? 'comment' : match[3] !== undefined ? 'text' : match[5] !== undefined ? 'quoted' : match[6] !== undefined ? 'word' : 'mark'
    found.push({ kind, text: match[0], from: match.index, to: match.index + match[0].length })
  }
  return found
}

export interface Statement {
  text: string
  from: number
  to: number
}

/** The statements of a text, without the semicolons between them; comments before a statement are part of it. */
export function statements(sql: string): Statement[] {
  const found: Statement[] = []
  let from = -1
  let to = -1
  let isBare = true
  const end = (): void => {
    if (from >= 0 && !isBare) found.push({ text: sql.slice(from, to), from, to })
    from = -1
    isBare = true
  }
  for (const part of parts(sql)) {
    if (part.kind === 'mark' && part.text === ';') {
      end()
      continue
    }
    if (from < 0) from = part.from
    if (part.kind !== 'comment') isBare = false
    to = part.to
  }
  end()
  return found
}

/** The statement in which the cursor stands; behind the last one's end it is that one. */
export function statementAt(sql: string, cursor: number): Statement | null {
  const all = statements(sql)
  const within = all.find((one) => cursor >= one.from && cursor <= one.to)
  if (within) return within
  return [...all].reverse().find((one) => one.from <= cursor) ?? all[0] ?? null
}

/** A name as the engine knows it: quotes taken off. */
function named(part: Part): string {
  return part.kind === 'quoted' ? part.text.slice(1, part.text.length > 1 ? -1 : undefined).replaceAll('""', '"') : part.text
}

export interface Source {
  schema: string
  table: string
  /** What stands before its columns; the table's name where it has no other. */
  alias: string
}

const AFTER = new Set(['from', 'join', 'update', 'into'])
const NO_ALIAS = new Set(
  'where group order having limit offset join inner left right full cross natural on using union intersect except window qualify and or as select from lateral sample tablesample fetch for asof positional'.split(' '),
)

/** The tables that a statement reads, with their aliases. */
export function sources(sql: string): Source[] {
  const found: Source[] = []
  const all = parts(sql).filter((part) => part.kind !== 'comment')
  const isName = (part: Part | undefined): part is Part => part?.kind === 'word' || part?.kind === 'quoted'
  for (let index = 0; index < all.length; index += 1) {
    const part = all[index] as Part
    if (part.kind !== 'word' || !AFTER.has(part.text.toLowerCase())) continue
    for (;;) {
      const names: string[] = []
      let next = all[index + 1]
      while (isName(next) && !(next.kind === 'word' && NO_ALIAS.has(next.text.toLowerCase()))) {
        names.push(named(next))
        index += 1
        if (all[index + 1]?.text !== '.') break
        index += 1
        next = all[index + 1]
      }
      if (!names.length) break
      const [table, schema] = [names.at(-1) ?? '', names.at(-2) ?? '']
      let alias = table
      if (all[index + 1]?.text.toLowerCase() === 'as') index += 1
      const maybe = all[index + 1]
      if (isName(maybe) && !(maybe.kind === 'word' && NO_ALIAS.has(maybe.text.toLowerCase()))) {
        alias = named(maybe)
        index += 1
      }
      found.push({ schema, table, alias })
      if (all[index + 1]?.text !== ',') break
      index += 1
    }
  }
  return found
}

/** Names that WITH defines. */
export function defined(sql: string): string[] {
  const all = parts(sql).filter((part) => part.kind !== 'comment')
  const found: string[] = []
  for (const [index, part] of all.entries()) {
    if (part.kind === 'word' && part.text.toLowerCase() === 'as' && all[index + 1]?.text === '(') {
      const before = all[index - 1]
      if (before && (before.kind === 'word' || before.kind === 'quoted')) found.push(named(before))
    }
  }
  return found
}

/** Line and column, from 1, of a place in a text. */
export function place(text: string, at: number): { line: number; column: number } {
  const before = text.slice(0, at)
  return { line: before.split('\n').length, column: at - before.lastIndexOf('\n') }
}

const PLAIN = /^[a-z_][a-z0-9_]*$/
const WORDS = new Set('select from where group order by table user column values join on as in is not null and or case when then else end all any limit offset union with desc asc primary default check references timestamp date time interval'.split(' '))

/** A name as it stands in SQL; quoted where it must be. */
export function quoted(name: string, quote = '"'): string {
  return PLAIN.test(name) && !WORDS.has(name) ? name : quote + name.replaceAll(quote, quote + quote) + quote
}
