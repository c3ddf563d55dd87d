/** Write keys that were made in this page just now: told once by the API, kept in memory only, gone with a reload. */
import type { SourceWithKey } from './sources'

class Fresh {
  #bySlug = $state.raw<Readonly<Record<string, SourceWithKey>>>({})

  of(slug: string): SourceWithKey | undefined {
    return this.#bySlug[slug]
  }

  put(made: SourceWithKey): void {
    this.#bySlug = { ...this.#bySlug, [made.source.slug]: made }
  }

  forget(slug: string): void {
    const rest = { ...this.#bySlug }
    delete rest[slug]
    this.#bySlug = rest
  }
}

export const fresh = new Fresh()
