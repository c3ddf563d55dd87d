/** Structs of the API by name, out of `schema.d.ts`, which `make api-types` writes: `type Source = Schema<'SourceShown'>`. */
import type { components } from './schema'

export type Schema<Name extends keyof components['schemas']> = components['schemas'][Name]
