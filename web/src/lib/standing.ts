/** How far the e-mail model is with what is loaded, as reports tell it. */
export interface Standing {
  as_of: string | null
  loads_behind: number
  is_flagging?: boolean | undefined
}

export function isBehind(of: Standing | undefined): boolean {
  return of !== undefined && (of.loads_behind > 0 || of.is_flagging === true)
}

/** Seconds until figures are asked for again: soon while some are still being counted. */
export function figuresEvery(of: Standing | undefined): number {
  return isBehind(of) ? 4 : 30
}
