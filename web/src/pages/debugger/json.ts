/** JSON as a tree that keeps what JavaScript's own reader would change: digits of numbers, and names that are there twice. */

export type Node =
  | { kind: 'object'; entries: readonly (readonly [string, Node])[] }
  | { kind: 'array'; items: readonly Node[] }
  | { kind: 'string'; text: string }
  | { kind: 'number' | 'literal'; text: string }

const MOST_DEPTH = 200
const SPACE = /[ \t\n\r]*/y
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/y
const LITERAL = /true|false|null/y

/** null for a text that is no JSON, or nested too deep to be shown. */
export function parsed(text: string): Node | null {
  const reader = new Reader(text)
  try {
    const node = reader.value(0)
    return reader.isAtEnd() ? node : null
  } catch {
    return null
  }
}

/** With two spaces a level, as people write it. */
export function pretty(node: Node, indent = ''): string {
  const inner = `${indent}  `
  if (node.kind === 'object') {
    if (!node.entries.length) return '{}'
    return `{\n${node.entries.map(([key, value]) => `${inner}${JSON.stringify(key)}: ${pretty(value, inner)}`).join(',\n')}\n${indent}}`
  }
  if (node.kind === 'array') {
    if (!node.items.length) return '[]'
    return `[\n${node.items.map((item) => inner + pretty(item, inner)).join(',\n')}\n${indent}]`
  }
  return node.kind === 'string' ? JSON.stringify(node.text) : node.text
}

class Reader {
  #at = 0
  constructor(readonly text: string) {}

  isAtEnd(): boolean {
    this.#take(SPACE)
    return this.#at === this.text.length
  }

  value(depth: number): Node {
    if (depth > MOST_DEPTH) throw new Error('too deep')
    this.#take(SPACE)
    const first = this.text[this.#at]
    if (first === '{') return this.#object(depth)
    if (first === '[') return this.#array(depth)
    if (first === '"') return { kind: 'string', text: this.#string() }
    const literal = this.#take(LITERAL)
    if (literal) return { kind: 'literal', text: literal }
    const number = this.#take(NUMBER)
    if (!number) throw new Error('no value')
    return { kind: 'number', text: number }
  }

  #object(depth: number): Node {
    const entries: (readonly [string, Node])[] = []
    this.#at += 1
    while (!this.#is('}')) {
      if (entries.length) this.#need(',')
      this.#take(SPACE)
      const key = this.#string()
      this.#need(':')
      entries.push([key, this.value(depth + 1)])
    }
    return { kind: 'object', entries }
  }

  #array(depth: number): Node {
    const items: Node[] = []
    this.#at += 1
    while (!this.#is(']')) {
      if (items.length) this.#need(',')
      items.push(this.value(depth + 1))
    }
    return { kind: 'array', items }
  }

  #string(): string {
    return JSON.parse(this.#take(STRING)) as string
  }

  #is(mark: string): boolean {
    this.#take(SPACE)
    if (this.text[this.#at] !== mark) return false
    this.#at += 1
    return true
  }

  #need(mark: string): void {
    if (!this.#is(mark)) throw new Error(`no ${mark}`)
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.text)?.[0] ?? ''
    this.#at += found.length
    return found
  }
}
