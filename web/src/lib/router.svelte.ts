/** Addresses of pages: the browser's history, with parameters in the path and state in the query. */

class Location {
  path = $state(location.pathname)
  query = $state(new URLSearchParams(location.search))
  hash = $state(location.hash)

  constructor() {
    addEventListener('popstate', () => this.read())
  }

  read(): void {
    this.path = location.pathname
    this.query = new URLSearchParams(location.search)
    this.hash = location.hash
  }
}

export const here = new Location()

/** Go to an address of the console. `replace` leaves no step to go back to. */
export function go(to: string, options: { replace?: boolean } = {}): void {
  const before = location.pathname
  if (options.replace) history.replaceState(null, '', to)
  else history.pushState(null, '', to)
  here.read()
  if (location.pathname !== before && !location.hash) scrollTo(0, 0)
}

/** Change parameters of the query in place; null, undefined and '' take one out. No step to go back to unless `push`. */
export function setQuery(changes: Record<string, string | number | null | undefined>, options: { push?: boolean } = {}): void {
  const query = new URLSearchParams(location.search)
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === '') query.delete(name)
    else query.set(name, String(value))
  }
  const text = query.toString()
  const to = location.pathname + (text ? `?${text}` : '') + location.hash
  if (to !== location.pathname + location.search + location.hash) go(to, { replace: !options.push })
}

/** Clicks on links that stay in the console need no request. */
export function followLinks(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
  const link = (event.target as Element | null)?.closest('a')
  if (!link || link.target || link.hasAttribute('download') || link.origin !== location.origin) return
  if (link.pathname.startsWith('/api/')) return
  if (link.hash && link.pathname === location.pathname && link.search === location.search) return
  event.preventDefault()
  go(link.pathname + link.search + link.hash)
}

export type Parameters_ = Record<string, string>

/** Parameters of `pattern` ('/sources/:slug/:tab?') in `path`, null where it does not fit. */
export function fits(pattern: string, path: string): Parameters_ | null {
  const wanted = pattern.split('/').filter(Boolean)
  const given = path.split('/').filter(Boolean)
  if (given.length > wanted.length) return null
  const found: Parameters_ = {}
  for (const [index, part] of wanted.entries()) {
    const value = given[index]
    if (part.startsWith(':')) {
      const optional = part.endsWith('?')
      if (value === undefined) {
        if (!optional) return null
        continue
      }
      try {
        found[part.slice(1, optional ? -1 : undefined)] = decodeURIComponent(value)
      } catch {
        return null
      }
    } else if (part !== value) return null
  }
  return found
}
