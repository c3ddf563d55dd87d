/** Something of the API that a page shows: loading, shown, refreshed, failed. The last good answer stays while the next one is on its way. */
import { problemOf, type Problem } from './api/client'

export class Resource<T> {
  data = $state.raw<T | undefined>(undefined)
  problem = $state.raw<Problem | null>(null)
  loading = $state(false)
  /** When `data` came, in ms since 1970. */
  at = $state(0)
  #load: (signal: AbortSignal) => Promise<T>
  #running: AbortController | null = null

  constructor(load: (signal: AbortSignal) => Promise<T>) {
    this.#load = load
  }

  /** Ask again; an answer that is still on its way is given up. */
  async reload(): Promise<void> {
    this.#running?.abort()
    const running = (this.#running = new AbortController())
    this.loading = true
    try {
      const data = await this.#load(running.signal)
      if (running.signal.aborted) return
      this.data = data
      this.problem = null
      this.at = Date.now()
    } catch (error) {
      if (running.signal.aborted) return
      this.problem = problemOf(error)
    } finally {
      if (this.#running === running) {
        this.loading = false
        this.#running = null
      }
    }
  }

  /** Put a known answer in its place, for example what a change was answered with. */
  set(data: T): void {
    this.#running?.abort()
    this.data = data
    this.problem = null
    this.loading = false
    this.at = Date.now()
  }

  /** As `loading`, and nothing depends on it. */
  get busy(): boolean {
    return this.#running !== null
  }

  stop(): void {
    this.#running?.abort()
  }
}

/**
 * A resource of a component: loads at once and again whenever something that `load` reads before its first await has changed,
 * every `everySeconds` while the page is visible, and stops with the component. They may follow from what was answered.
 */
export function resource<T>(load: (signal: AbortSignal) => Promise<T>, options: { everySeconds?: number | ((data: T | undefined) => number) } = {}): Resource<T> {
  const found = new Resource<T>(load)
  $effect(() => {
    void found.reload()
    return () => found.stop()
  })
  $effect(() => {
    const seconds = typeof options.everySeconds === 'function' ? options.everySeconds(found.data) : options.everySeconds
    if (!seconds) return
    const timer = setInterval(() => {
      if (!document.hidden && !found.busy) void found.reload()
    }, seconds * 1000)
    return () => clearInterval(timer)
  })
  return found
}
