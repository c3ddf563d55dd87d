/** A resource that knows what its answer and its problem are of: while another one is chosen, neither passes for that one's. */
import type { Problem } from '../../lib/api/client'
import { resource } from '../../lib/resource.svelte'

interface Told<T> {
  readonly subject: string
  readonly choice: string
  readonly answer: T
}

export interface Asking<T> {
  /** The last answer about this subject, none of another. */
  readonly data: T | undefined
  /** Whether `data` is of another choice (period, source and the like) than the one that stands. */
  readonly isStale: boolean
  /** Why what is chosen now did not come. */
  readonly problem: Problem | null
  readonly loading: boolean
  reload(): Promise<void>
}

/** `subject` and `choice` are texts: an answer is of the same where they are the same. */
export function asking<T>(subject: () => string, choice: () => string, load: (signal: AbortSignal) => Promise<T>, options: { everySeconds?: number | ((data: T | undefined) => number) } = {}): Asking<T> {
  let failed = $state('')
  const every = options.everySeconds
  const found = resource<Told<T>>(async (signal) => {
    const of = { subject: subject(), choice: choice() }
    try {
      return { ...of, answer: await load(signal) }
    } catch (error) {
      if (!signal.aborted) failed = JSON.stringify(of)
      throw error
    }
  }, every === undefined ? {} : { everySeconds: typeof every === 'function' ? (told) => every(told?.answer) : every })
  return {
    get data() { return found.data?.subject === subject() ? found.data.answer : undefined },
    get isStale() { return found.data !== undefined && found.data.choice !== choice() },
    get problem() { return failed === JSON.stringify({ subject: subject(), choice: choice() }) ? found.problem : null },
    get loading() { return found.loading },
    reload: () => found.reload(),
  }
}
