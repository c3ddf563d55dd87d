/** Who is logged in, and what he may do. */
import { api, onConnection, setCsrf } from './api/client'

export type Role = 'viewer' | 'editor' | 'admin' | 'owner'
const ROLES: readonly Role[] = ['viewer', 'editor', 'admin', 'owner']

/** GET /session. `needs_setup`: nobody is in the workspace yet. */
export interface SessionShown {
  needs_setup: boolean
  needs_setup_code?: boolean
  logged_in: boolean
  name?: string | null
  email?: string | null
  person?: number | null
  role?: Role | null
  csrf_token?: string | null
  version: string
  collector_url: string
}

class Session {
  known = $state.raw<SessionShown | null>(null)
  /** False while requests get no answer. */
  connected = $state(true)

  constructor() {
    onConnection((event) => {
      if (event === 'logged-out') void this.load()
      else this.connected = event === 'answered'
    })
  }

  /** Ask again who is logged in. Throws Problem. */
  async load(): Promise<void> {
    this.take(await api.get<SessionShown>('/session', {}, AbortSignal.timeout(10_000)))
  }

  take(shown: SessionShown): void {
    setCsrf(shown.csrf_token ?? '')
    this.known = shown
  }

  /** Whether the role is enough: buttons that would be refused are not offered. */
  may(needed: Role): boolean {
    const role = this.known?.role
    return role ? ROLES.indexOf(role) >= ROLES.indexOf(needed) : false
  }
}

export const session = new Session()
