/** Pages of a list, newest first, one after the other: `before` of a page asks for the next. */
import { problemOf, type Problem } from '../../lib/api/client'

export class Paged<Item> {
  items = $state.raw<readonly Item[]>([])
  before = $state.raw<string | null>(null)
  problem = $state.raw<Problem | null>(null)
  loading = $state(false)
  /** Whether the first page came. */
  known = $state(false)
  #page: (before: string | null) => Promise<{ items: readonly Item[]; before: string | null }>
  #turn = 0

  constructor(page: (before: string | null) => Promise<{ items: readonly Item[]; before: string | null }>) {
    this.#page = page
  }

  async first(): Promise<void> {
    await this.#load(null)
  }

  async more(): Promise<void> {
    if (this.before !== null && !this.loading) await this.#load(this.before)
  }

  async #load(before: string | null): Promise<void> {
    const turn = ++this.#turn
    this.loading = true
    try {
      const page = await this.#page(before)
      if (turn !== this.#turn) return
      this.items = before === null ? page.items : [...this.items, ...page.items]
      this.before = page.before
      this.problem = null
      this.known = true
    } catch (error) {
      if (turn === this.#turn) this.problem = problemOf(error)
    } finally {
      if (turn === this.#turn) this.loading = false
    }
  }
}
