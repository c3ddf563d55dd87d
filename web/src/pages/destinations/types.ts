/** Structs of the API that the pages of destinations share. */
import type { Schema } from '../../lib/api/types'

export type Destination = Schema<'DestinationShown'>
export type Answer = Schema<'DestinationAnswer'>
export type Kind = Schema<'KindShown'>
export type Tried = Schema<'delivery_trying_Tried'>
export type Source = Schema<'SourceShown'>
export type FilterChecked = Schema<'FilterChecked'>
export type FilterFields = Schema<'FilterFields'>
export type RecentEvent = Schema<'RecentEvent'>
export type DeadLetter = Schema<'DeadLetter'>
export type DeadLetters = Schema<'Page'>
export type Revived = Schema<'Revived'>
export type Replay = Schema<'ReplayShown'>
export type ReplayAnswer = Schema<'ReplayAnswer'>

/** Where the API has a destination. */
export const pathOf = (slug: string): string => `/destinations/${encodeURIComponent(slug)}`
