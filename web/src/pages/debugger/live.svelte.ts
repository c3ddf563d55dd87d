/** What the debugger's list shows: the newest lines, live or paused, and how many there were. */
import { api, problemOf, type Problem } from '../../lib/api/client'
import type { Schema } from '../../lib/api/types'
import { follow, keyOf, type Filters, type Frame, type Line, type Lost } from './frames'

export const MOST_LINES = 5_000
const PAGE = 200
const SECONDS = 60
const LONGEST_PAUSE_MS = 2_000

type Page = Omit<Schema<'EventPage'>, 'entries'> & { entries: readonly Line[] }
type Status = 'loading' | 'connecting' | 'live' | 'lost' | 'stopped'

export class Live {
  /** Newest first, MOST_LINES at the most. */
  lines = $state.raw<readonly Line[]>([])
  status = $state<Status>('loading')
  problem = $state.raw<Problem | null>(null)
  isPaused = $state(false)
  /** What came and fits while it is paused. */
  waiting = $state(0)
  /** Since it was opened: entries read, and those that fitted. */
  looked = $state(0)
  fitted = $state(0)
  behindEntries = $state(0)
  behindSeconds = $state(0)
  passedOver = $state(0)
  lost = $state.raw<readonly Lost[]>([])
  trouble = $state('')
  /** Events of the last seconds, one number a second, the oldest first. */
  perSecond = $state.raw<readonly number[]>(new Array<number>(SECONDS).fill(0))
  /** How far it was looked back, and whether there is more. */
  lookedBackTo = $state<string | null>(null)
  lookedAtOlder = $state(0)
  hasOlder = $state(false)
  isLoadingOlder = $state(false)
  olderProblem = $state.raw<Problem | null>(null)
  /** Told how many lines were put on top, before they are drawn. */
  onadded: (lines: number) => void = () => {}

  #filters: Filters
  #until: string | null
  #position: string | null = null
  #before: string | null = null
  #isCut = false
  #pending: Line[] = []
  #pausedAt: string | null = null
  #isOverflown = false
  #drawing = 0
  #running = new AbortController()
  #second = 0

  constructor(filters: Filters, until: string | null) {
    this.#filters = filters
    this.#until = until
  }

  /** Loads the newest events, then follows the log until `stop`; with `until` it shows what was before, and does not follow. */
  async run(): Promise<void> {
    const running = this.#running
    const { signal } = running
    while (!signal.aborted) {
      try {
        this.status = 'loading'
        const page = await api.get<Page>('/debugger/events', { ...this.#query(), limit: PAGE, until: this.#until }, signal)
        this.#takePage(page)
        this.problem = null
        this.#position = page.end
        if (this.#until) {
          this.status = 'stopped'
          return
        }
        break
      } catch (error) {
        if (signal.aborted) return
        this.problem = problemOf(error)
        if (this.problem.status >= 400 && this.problem.status < 500) {
          this.status = 'stopped' // asking again would change nothing
          return
        }
        this.status = 'lost'
        await pause(1000, signal)
      }
    }
    await this.#follow(signal)
  }

  stop(): void {
    this.#running.abort()
    if (this.#drawing) cancelAnimationFrame(this.#drawing)
  }

  pause(): void {
    if (this.isPaused) return
    this.#draw()
    this.isPaused = true
    this.waiting = 0
    this.#pausedAt = this.#position
    this.#isOverflown = false
  }

  /** Goes on where it was paused. */
  resume(): void {
    if (!this.isPaused) return
    this.isPaused = false
    if (this.#isOverflown && this.#pausedAt) this.#restart(this.#pausedAt)
    else this.#plan()
    this.waiting = 0
    this.#pausedAt = null
  }

  /** Passes over what it is behind; the server says how many that were. */
  jump(): void {
    const from = this.#isOverflown && this.#pausedAt ? this.#pausedAt : this.#position
    this.isPaused = false
    this.waiting = 0
    this.#pending = []
    if (from) this.#restart(from, true)
  }

  async older(): Promise<void> {
    if (this.isLoadingOlder || !this.hasOlder) return
    this.isLoadingOlder = true
    this.olderProblem = null
    try {
      const before = this.#isCut ? this.#belowShown() : this.#before
      this.#takePage(await api.get<Page>('/debugger/events', { ...this.#query(), limit: PAGE, before }, this.#running.signal))
    } catch (error) {
      if (!this.#running.signal.aborted) this.olderProblem = problemOf(error)
    } finally {
      this.isLoadingOlder = false
    }
  }

  get isFull(): boolean {
    return this.lines.length >= MOST_LINES
  }

  #query(): Record<string, string> {
    return Object.fromEntries(Object.entries(this.#filters).filter(([, value]) => value !== '')) as Record<string, string>
  }

  #takePage(page: Page): void {
    this.lines = [...this.lines, ...page.entries]
    this.#before = page.before
    this.#isCut = false
    this.hasOlder = page.before !== null
    this.lookedAtOlder += page.looked_at
    this.lookedBackTo = page.looked_back_to ?? this.lookedBackTo
    if (page.lost.length) this.lost = [...this.lost, ...page.lost]
  }

  /** In each partition the place of the oldest line that is shown; where none is, the stream's. */
  #belowShown(): string {
    const [incarnation = '', ...places] = (this.#position ?? '').split('.')
    const lowest = new Map(places.map((place) => place.split('-') as [string, string]))
    for (const line of this.lines) lowest.set(String(line.partition), String(line.offset))
    return [incarnation, ...[...lowest].map(([partition, offset]) => `${partition}-${offset}`)].join('.')
  }

  #restart(position: string, isJump = false): void {
    this.#running.abort()
    this.#running = new AbortController()
    this.#position = position
    this.#pending = []
    this.#isOverflown = false
    void this.#follow(this.#running.signal, isJump)
  }

  async #follow(signal: AbortSignal, isJump = false): Promise<void> {
    let pauseMs = 250
    while (!signal.aborted) {
      try {
        if (this.status !== 'lost') this.status = 'connecting'
        const query = { ...this.#query(), ...(this.#position ? { after: this.#position } : {}), ...(isJump ? { jump: 'true' } : {}) }
        await follow(
          query,
          signal,
          (frame) => {
            isJump = false
            pauseMs = 250
            this.#take(frame)
          },
          () => {
            this.status = 'live'
            this.problem = null
          },
        )
      } catch (error) {
        if (signal.aborted) return
        const problem = problemOf(error)
        if (problem.status === 409) {
          // The data folder was made anew: nothing of what is shown is there any more.
          this.lines = []
          this.#position = null
        } else if (problem.status >= 400 && problem.status < 500 && problem.status !== 429) {
          this.problem = problem
          this.status = 'stopped'
          return
        }
        this.problem = problem.status === 409 || problem.status === 429 ? problem : null
      }
      if (signal.aborted) return
      this.status = 'lost'
      await pause(pauseMs, signal)
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)
    }
  }

  #take(frame: Frame): void {
    const entries = frame.entries ?? []
    this.#position = frame.position
    this.#count(frame.at, frame.looked_at ?? 0)
    this.looked += frame.looked_at ?? 0
    this.fitted += entries.length
    this.behindEntries = frame.behind_entries ?? 0
    this.behindSeconds = frame.behind_seconds ?? 0
    this.trouble = frame.problem ?? ''
    if (frame.passed_over) this.passedOver += frame.passed_over
    if (frame.lost?.length) this.lost = [...this.lost, ...frame.lost]
    if (!entries.length) return
    if (this.isPaused) {
      this.waiting += entries.length
      if (this.#isOverflown) return
      if (this.waiting > MOST_LINES) {
        this.#isOverflown = true
        this.#pending = []
        return
      }
    }
    for (const line of entries) this.#pending.push(line)
    if (this.#pending.length > MOST_LINES) this.#pending.splice(0, this.#pending.length - MOST_LINES)
    this.#plan()
  }

  #count(at: string, events: number): void {
    const second = Math.floor(Date.parse(at) / 1000)
    const moved = this.#second ? Math.min(Math.max(0, second - this.#second), SECONDS) : 0
    if (!events && !moved) return
    const counts = [...this.perSecond.slice(moved), ...new Array<number>(moved).fill(0)]
    counts[SECONDS - 1] = (counts[SECONDS - 1] ?? 0) + events
    this.perSecond = counts
    this.#second = Math.max(second, this.#second)
  }

  /** Everything that comes between two pictures is drawn at once. */
  #plan(): void {
    if (this.#drawing || this.isPaused) return
    this.#drawing = requestAnimationFrame(() => {
      this.#drawing = 0
      this.#draw()
    })
  }

  #draw(): void {
    if (!this.#pending.length || this.isPaused) return
    const added = this.#pending.reverse()
    this.#pending = []
    const lines = added.concat(this.lines as Line[])
    if (lines.length > MOST_LINES) {
      lines.length = MOST_LINES
      this.#isCut = this.hasOlder = true
    }
    this.onadded(added.length)
    this.lines = lines
  }

  /** The line with that key, -1 where it is not shown. */
  indexOf(key: string): number {
    return this.lines.findIndex((line) => keyOf(line) === key)
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}
