/** The report that is being put together, with its way back: every change is one step. */
import { NOTHING, placed, removed, wellOf, written, type Chosen, type Well } from './model'

const MOST_STEPS = 200

export class Board {
  chosen = $state.raw<Chosen>(NOTHING)
  /** What just happened, for those who do not see it. */
  said = $state('')
  #past = $state.raw<readonly Chosen[]>([])
  #future = $state.raw<readonly Chosen[]>([])

  /** Without a step to go back to. */
  begin(chosen: Chosen): void {
    this.chosen = chosen
    this.#past = []
    this.#future = []
  }
  change(changes: Partial<Chosen>, said = ''): void {
    const next = { ...this.chosen, ...changes }
    if (said) this.said = said
    if (written(next) === written(this.chosen)) return
    this.#past = [...this.#past.slice(1 - MOST_STEPS), this.chosen]
    this.#future = []
    this.chosen = next
  }
  get mayUndo(): boolean {
    return this.#past.length > 0
  }
  get mayRedo(): boolean {
    return this.#future.length > 0
  }
  undo(): void {
    const before = this.#past.at(-1)
    if (!before) return
    this.#future = [this.chosen, ...this.#future]
    this.#past = this.#past.slice(0, -1)
    this.chosen = before
    this.said = 'Undone.'
  }
  redo(): void {
    const [after, ...rest] = this.#future
    if (!after) return
    this.#past = [...this.#past, this.chosen]
    this.#future = rest
    this.chosen = after
    this.said = 'Done again.'
  }

  /** Into a well, or to another place of it. `dataset`: where it is counted then. */
  place(field: string, title: string, well: Exclude<Well, 'filters'>, at: number | undefined, dataset: string): void {
    const names = { rows: 'Rows', series: 'Series', values: 'Values' }
    const next = placed(this.chosen, field, well, at)
    const place = next[well].indexOf(field) + 1
    this.change({ ...next, dataset }, `${title} is in ${names[well]}, number ${place} of ${next[well].length}.`)
  }
  remove(field: string, title: string): void {
    if (wellOf(this.chosen, field)) this.change(removed(this.chosen, field), `${title} is taken out.`)
  }
  removeFilter(index: number, title: string): void {
    this.change({ filters: this.chosen.filters.filter((_, at) => at !== index) }, `The filter on ${title} is taken out.`)
  }
}
