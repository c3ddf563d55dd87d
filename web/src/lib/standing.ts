/** How far the e-mail model is with what is loaded, as reports tell it. */
export interface Standing {
  as_of: string | null
  loads_behind: number
  is_flagging?: boolean | undefined
}

export function isBehind(of: Standing | undefined): boolean {
  return of !== undefined && (of.loads_behind > 0 || of.is_flagging === true)
}

/** Seconds until figures are asked for again: soon while some are being counted, but not where that stands still. */
export function figuresEvery(of: Standing | undefined): number {
  const moves = !of?.as_of || Date.now() - Date.parse(of.as_of) < 300_000
  return isBehind(of) && moves ? 5 : 30
}
