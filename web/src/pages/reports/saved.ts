/** What people saved, as the API tells it. */
import { api } from '../../lib/api/client'

export interface Saved<Body> {
  kind: string
  slug: string
  title: string
  description: string
  body: Body
  author: string
  created_at: string
  changed_at: string
  revision: number
  misfits: string[]
  used_by: string[]
}

export const saved = {
  every: <Body>(kind: string, signal?: AbortSignal) => api.get<Saved<Body>[]>(`/saved/${kind}`, {}, signal),
  one: <Body>(kind: string, slug: string, signal?: AbortSignal) => api.get<Saved<Body>>(`/saved/${kind}/${encodeURIComponent(slug)}`, {}, signal),
  add: <Body>(kind: string, title: string, description: string, body: Body) => api.post<Saved<Body>>(`/saved/${kind}`, { title, description, body }),
  put: <Body>(before: Saved<Body>, changes: { title?: string; description?: string; body?: Body }) =>
    api.put<Saved<Body>>(`/saved/${before.kind}/${encodeURIComponent(before.slug)}`, { title: before.title, description: before.description, body: before.body, ...changes, revision: before.revision }),
  remove: (kind: string, slug: string) => api.remove(`/saved/${kind}/${encodeURIComponent(slug)}`),
}
