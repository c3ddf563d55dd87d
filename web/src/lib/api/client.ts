/** Requests to the API: JSON in, JSON out, problems as `Problem`, the CSRF token of the session by itself. */

export const PREFIX = '/api/v1'

export interface ProblemDetails {
  status: number
  code: string
  detail: string
  title: string
  step: string
  subject: string
  remedy: string
}

/** What the API refuses or fails with. `status` 0: no answer came. */
export class Problem extends Error implements ProblemDetails {
  status: number
  code: string
  detail: string
  title: string
  step: string
  subject: string
  remedy: string
  retryAfterSeconds: number | null

  constructor(details: Partial<ProblemDetails>, retryAfterSeconds: number | null = null) {
    super(details.detail ?? details.title ?? 'it failed')
    this.name = 'Problem'
    this.status = details.status ?? 0
    this.code = details.code ?? ''
    this.detail = details.detail ?? ''
    this.title = details.title ?? ''
    this.step = details.step ?? ''
    this.subject = details.subject ?? this.message
    this.remedy = details.remedy ?? ''
    this.retryAfterSeconds = retryAfterSeconds
  }
}

/** Whatever was thrown, as a Problem. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error
  return new Problem({ code: 'page', step: 'page', detail: String(error), subject: String(error), remedy: 'Reload the page; if it stays, tell the developers what you did.' })
}

let csrf = ''
/** The session's token, told by GET /session. */
export function setCsrf(token: string): void {
  csrf = token
}

type Listener = (event: 'answered' | 'unreachable' | 'logged-out') => void
const listeners = new Set<Listener>()
export function onConnection(listener: Listener): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}
function tell(event: Parameters<Listener>[0]): void {
  for (const listener of listeners) listener(event)
}

export interface Asked {
  body?: unknown
  query?: Record<string, string | number | boolean | null | undefined | readonly (string | number)[]>
  signal?: AbortSignal | undefined
}

/** The path with its query; parts that are null, undefined or '' are left out. */
export function address(path: string, query: Asked['query'] = {}): string {
  const found = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value === null || value === undefined || value === '') continue
    if (typeof value === 'object') for (const one of value) found.append(name, String(one))
    else found.set(name, String(value))
  }
  const text = found.toString()
  return PREFIX + path + (text ? `?${text}` : '')
}

/** One request, made again where others ask the warehouses. Throws Problem; an aborted one throws the AbortError of fetch. */
export async function request(method: string, path: string, asked: Asked = {}, again = 3): Promise<Response> {
  const headers: Record<string, string> = { accept: 'application/json' }
  if (asked.body !== undefined) headers['content-type'] = 'application/json'
  if (method !== 'GET' && csrf) headers['x-csrf-token'] = csrf
  let answer: Response
  try {
    answer = await fetch(address(path, asked.query), {
      method,
      headers,
      body: asked.body === undefined ? null : JSON.stringify(asked.body),
      signal: asked.signal ?? null,
      credentials: 'same-origin',
      redirect: 'error',
    })
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error
    throw unreachable()
  }
  tell('answered')
  if (answer.ok) return answer
  let details: Partial<ProblemDetails> = { status: answer.status, title: answer.statusText, detail: answer.statusText }
  try {
    details = { ...details, ...((await answer.json()) as Partial<ProblemDetails>) }
  } catch {
    /* no JSON: the status says it */
  }
  if (details.code === 'warehouses_busy' && again > 0) {
    await new Promise((done) => setTimeout(done, 1000 + Math.random() * 1000))
    if (!asked.signal?.aborted) return await request(method, path, asked, again - 1)
  }
  if (answer.status === 401 && path !== '/session') tell('logged-out')
  const after = Number(answer.headers.get('retry-after'))
  throw new Problem(details, Number.isFinite(after) && after > 0 ? after : null)
}

function unreachable(): Problem {
  tell('unreachable')
  return new Problem({
    code: 'unreachable',
    step: 'connection',
    subject: 'the server does not answer',
    detail: 'connection: the server does not answer',
    remedy: 'It is tried again by itself. If it stays so, see whether `headrace serve` runs.',
  })
}

/** Longer than any answer to a GET takes. What a request changes may take any time. */
const LATE_SECONDS = 90

async function json<T>(method: string, path: string, asked: Asked = {}): Promise<T> {
  const late = method === 'GET' ? AbortSignal.timeout(LATE_SECONDS * 1000) : null
  const signal = late && asked.signal ? AbortSignal.any([asked.signal, late]) : (late ?? asked.signal)
  try {
    const answer = await request(method, path, { ...asked, signal })
    return (answer.status === 204 ? undefined : await answer.json()) as T
  } catch (error) {
    throw error instanceof DOMException && error.name === 'TimeoutError' ? unreachable() : error
  }
}

/** `api.get<Source[]>('/sources')`; types are those of `schema.d.ts`, see `types.ts`. */
export const api = {
  get: <T>(path: string, query?: Asked['query'], signal?: AbortSignal) => json<T>('GET', path, { query: query ?? {}, signal }),
  post: <T>(path: string, body?: unknown, signal?: AbortSignal) => json<T>('POST', path, { body: body ?? {}, signal }),
  put: <T>(path: string, body: unknown, signal?: AbortSignal) => json<T>('PUT', path, { body, signal }),
  patch: <T>(path: string, body: unknown, signal?: AbortSignal) => json<T>('PATCH', path, { body, signal }),
  remove: <T = void>(path: string, query?: Asked['query']) => json<T>('DELETE', path, { query: query ?? {} }),
}
