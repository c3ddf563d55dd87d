/** How far the e-mail model is with what is loaded, as reports tell it. */
export interface Standing {
  as_of: string | null
  loads_behind: number
  is_flagging?: boolean | undefined
}

export function isBehind(of: Standing | undefined): boolean {
  return of !== undefined && (of.loads_behind > 0 || of.is_flagging === true)
}

/** Seconds until figures are asked for again while some are being counted; 0 where all are, and where that stands still. */
export function countedEvery(of: Standing | null | undefined): number {
  const moves = !of?.as_of || Date.now() - Date.parse(of.as_of) < 300_000
  return of && isBehind(of) && moves ? 5 : 0
}

/** As `countedEvery`, and now and then in any case. */
export function figuresEvery(of: Standing | undefined): number {
  return countedEvery(of) || 30
}
