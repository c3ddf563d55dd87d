/** The tabs of the SQL page: their texts are kept in the browser over reloads, their answers while the console is open. */
import { api, problemOf, type Problem } from '../../lib/api/client'
import type { Schema } from '../../lib/api/types'
import { session } from '../../lib/session.svelte'
import type { Answer } from './cells'
import type { Drawing } from './draw'

export type QueryShown = Schema<'QueryShown'>
export const ROWS: readonly number[] = [1_000, 10_000, 100_000]
const WAIT_SECONDS = 8
const MOST_HISTORY = 200
const MOST_TABS = 30

export interface Saved {
  slug: string
  title: string
  description: string
  revision: number
  sql: string
  warehouse: string | null
}

export class Tab {
  id: string
  title = $state('')
  sql = $state('')
  warehouse = $state('')
  saved = $state.raw<Saved | null>(null)
  drawing = $state.raw<Partial<Drawing> | null>(null)
  view = $state<'table' | 'chart'>('table')
  maxRows = $state(10_000)
  /** What was asked last: its text and where in the tab's text it began. */
  asked = $state.raw<{ text: string; from: number; at: number } | null>(null)
  query = $state.raw<QueryShown | null>(null)
  problem = $state.raw<(Problem & { position?: number | null }) | null>(null)
  running = $state(false)
  /** Of the answer, from asking to having it, in ms. */
  took = $state(0)
  #turn = 0

  constructor(id: string) {
    this.id = id
  }

  get answer(): Answer | null {
    return this.query?.answer ?? null
  }

  /** Saved once, and changed since. */
  get changed(): boolean {
    return this.saved !== null && this.saved.sql !== this.sql
  }

  get name(): string {
    return this.saved?.title ?? (this.title || 'New query')
  }

  /** Run a text; an older one of this tab that still runs is cancelled. */
  async run(wanted: { text: string; from: number }, explain = false): Promise<void> {
    this.cancel()
    const turn = ++this.#turn
    const began = Date.now()
    this.running = true
    this.problem = null
    this.asked = { ...wanted, at: began }
    try {
      let found = await api.post<QueryShown>('/queries', { sql: wanted.text, warehouse: this.warehouse || null, max_rows: this.maxRows, explain, wait_seconds: 0.4 })
      if (turn !== this.#turn) {
        if (found.state === 'running') void api.remove(`/queries/${found.id}`).catch(() => undefined)
        return
      }
      this.query = found
      while (found.state === 'running') {
        found = await api.get<QueryShown>(`/queries/${found.id}`, { wait_seconds: WAIT_SECONDS })
        if (turn !== this.#turn) return
        this.query = found
      }
      if (found.problem) this.problem = Object.assign(problemOf(null), { ...found.problem, message: found.problem.detail, retryAfterSeconds: null })
      history.add({ sql: wanted.text, warehouse: found.warehouse, at: began, seconds: found.seconds, rows: found.answer?.row_count ?? null, state: found.state })
    } catch (error) {
      if (turn === this.#turn) this.problem = problemOf(error)
    } finally {
      if (turn === this.#turn) {
        this.running = false
        this.took = Date.now() - began
      }
    }
  }

  /** End what runs, in the engine, too; true when something ran. */
  cancel(): boolean {
    const running = this.query
    const was = this.running
    if (was && running?.state === 'running') void api.remove(`/queries/${running.id}`).catch(() => undefined)
    else if (was) {
      // Its id is not known yet: `run` ends it as soon as it is.
      this.#turn += 1
      this.running = false
    }
    return was
  }
}

interface KeptTab {
  id: string
  title: string
  sql: string
  warehouse: string
  saved: Saved | null
  drawing: Partial<Drawing> | null
  maxRows: number
}

function keptOf({ id, title, sql, warehouse, saved, drawing, maxRows }: Tab): KeptTab {
  return { id, title, sql, warehouse, saved, drawing, maxRows }
}

/** Keys by person: two may use one browser. */
const key = (name: string): string => `headrace.sql.${name}.${session.known?.email ?? session.known?.name ?? ''}`

function read<T>(name: string, otherwise: T): T {
  try {
    const found = JSON.parse(localStorage.getItem(key(name)) ?? 'null') as T | null
    return found ?? otherwise
  } catch {
    return otherwise
  }
}

function write(name: string, value: unknown): void {
  try {
    localStorage.setItem(key(name), JSON.stringify(value))
  } catch {
    /* full or forbidden: then it is not kept */
  }
}

class Tabs {
  all = $state<Tab[]>([])
  current = $state('')
  #person = ''
  #next = 1
  /** As this window last read or wrote them: what it has not changed since is another window's to change. */
  #known = new Map<string, string>()

  get active(): Tab | undefined {
    return this.all.find((tab) => tab.id === this.current)
  }

  /** As they were; once for each person who logs in. */
  restore(): void {
    const person = key('tabs')
    if (this.#person === person) return
    this.#person = person
    this.#known.clear()
    const kept = read<{ tabs: KeptTab[]; current: string }>('tabs', { tabs: [], current: '' })
    this.all = (Array.isArray(kept.tabs) ? kept.tabs : []).slice(0, MOST_TABS).map((one) => {
      const tab = new Tab(String(one.id))
      tab.title = String(one.title ?? '')
      tab.sql = String(one.sql ?? '')
      tab.warehouse = String(one.warehouse ?? '')
      tab.saved = one.saved ?? null
      tab.drawing = one.drawing ?? null
      tab.maxRows = ROWS.includes(one.maxRows) ? one.maxRows : 10_000
      this.#known.set(tab.id, JSON.stringify(keptOf(tab)))
      return tab
    })
    this.current = this.all.some((tab) => tab.id === kept.current) ? kept.current : (this.all[0]?.id ?? '')
    if (!this.all.length) this.open({})
    history.restore()
  }

  /** Called when something of them may have changed. Two windows may be open: each writes what it changed, and leaves the other's tabs alone. */
  keep(): void {
    const mine = new Map(this.all.map((tab) => [tab.id, keptOf(tab)]))
    const isChanged = (own: KeptTab): boolean => JSON.stringify(own) !== this.#known.get(own.id)
    const before = read<{ tabs: KeptTab[] }>('tabs', { tabs: [] }).tabs
    const tabs: KeptTab[] = []
    for (const one of Array.isArray(before) ? before : []) {
      const own = mine.get(one.id)
      mine.delete(one.id)
      if (own) tabs.push(isChanged(own) ? own : one)
      else if (!this.#known.has(one.id)) tabs.push(one) // of another window; what was closed here is left out
    }
    tabs.push(...[...mine.values()].filter(isChanged)) // new ones; those that nobody changed here were closed elsewhere
    for (const tab of this.all) this.#known.set(tab.id, JSON.stringify(keptOf(tab)))
    write('tabs', { tabs: tabs.slice(-MOST_TABS), current: this.current })
  }

  open(of: { sql?: string; title?: string; warehouse?: string; saved?: Saved | null; drawing?: Partial<Drawing> | null }): Tab {
    // An empty tab that nobody has used is taken instead of a new one.
    const idle = this.active && !this.active.sql.trim() && !this.active.saved ? this.active : undefined
    const tab = idle ?? new Tab(`${Date.now().toString(36)}-${this.#next++}`)
    if (!idle) {
      this.all.push(tab)
      if (this.all.length > MOST_TABS) this.close((this.all[0] as Tab).id)
    }
    tab.sql = of.sql ?? ''
    tab.title = of.title ?? ''
    tab.warehouse = of.warehouse ?? this.active?.warehouse ?? ''
    tab.saved = of.saved ?? null
    tab.drawing = of.drawing ?? null
    this.current = tab.id
    return tab
  }

  close(id: string): void {
    const at = this.all.findIndex((tab) => tab.id === id)
    if (at < 0) return
    const closed = this.all[at] as Tab
    closed.cancel()
    // What was written in it is found again among what was asked.
    if (closed.sql.trim() && closed.saved?.sql !== closed.sql) history.add({ sql: closed.sql, warehouse: closed.warehouse, at: Date.now(), seconds: 0, rows: null, state: 'closed' })
    this.all.splice(at, 1)
    if (!this.all.length) this.open({})
    else if (this.current === id) this.current = (this.all[Math.min(at, this.all.length - 1)] as Tab).id
  }
}

export interface Asked {
  sql: string
  warehouse: string
  at: number
  seconds: number
  rows: number | null
  state: string
}

/** What this person asked in this browser; the server keeps none of it. */
class History {
  all = $state.raw<readonly Asked[]>([])

  restore(): void {
    const found = read<Asked[]>('history', [])
    this.all = Array.isArray(found) ? found : []
  }

  add(asked: Asked): void {
    this.restore() // another window may have added to it
    this.all = [asked, ...this.all.filter((one) => one.sql !== asked.sql || one.warehouse !== asked.warehouse)].slice(0, MOST_HISTORY)
    write('history', this.all)
  }

  clear(): void {
    this.all = []
    write('history', [])
  }
}

export const history = new History()
export const tabs = new Tabs()
