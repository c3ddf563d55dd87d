/** The live stream of the log: server-sent events read with fetch, so that problems are told and a reader can go on at any place. */
import { PREFIX, Problem, request } from '../../lib/api/client'
import type { Schema } from '../../lib/api/types'

export type Shown = Schema<'Shown'>
/** A line of the list; what is not there is left out. */
export type Line = Pick<Shown, 'partition' | 'offset' | 'source' | 'received_at' | 'state'> & Partial<Shown>
export type Lost = Schema<'Lost'>
export type Frame = Omit<Partial<Schema<'Frame'>>, 'entries'> & { at: string; position: string; entries?: readonly Line[] }

export interface Filters {
  text: string
  source: string
  type: string
  event: string
  user: string
  state: string
  filter: string
}
export const NO_FILTERS: Filters = { text: '', source: '', type: '', event: '', user: '', state: '', filter: '' }

/** The stream is silent for so long only when the connection is gone. */
const SILENT_MS = 10_000

export const STREAM = `${PREFIX}/debugger/stream`

/**
 * Frames until the server or the connection ends. Throws Problem for what the server says against it, and whatever fetch throws
 * when the connection breaks.
 */
export async function follow(query: Record<string, string>, signal: AbortSignal, take: (frame: Frame) => void, opened: () => void): Promise<void> {
  const watched = new AbortController()
  const stop = (): void => watched.abort()
  signal.addEventListener('abort', stop)
  let timer = setTimeout(stop, SILENT_MS)
  try {
    const answer = await request('GET', '/debugger/stream', { query, signal: watched.signal })
    if (!answer.body) return
    opened()
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
    let rest = ''
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      clearTimeout(timer)
      timer = setTimeout(stop, SILENT_MS)
      const parts = (rest + value).split('\n\n')
      rest = parts.pop() ?? ''
      for (const part of parts) told(part, take)
    }
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
    watched.abort()
  }
}

function told(part: string, take: (frame: Frame) => void): void {
  let name = ''
  let data = ''
  for (const line of part.split('\n')) {
    if (line.startsWith('event: ')) name = line.slice(7)
    else if (line.startsWith('data: ')) data = line.slice(6)
  }
  if (name === 'frame') take(JSON.parse(data) as Frame)
  else if (name === 'end') throw new Problem(JSON.parse(data) as Partial<Problem>)
}

export const keyOf = (line: Pick<Line, 'partition' | 'offset'>): string => `${line.partition}-${line.offset}`
