/** Fields are dragged by pointer: from the list into wells, between wells, and out of them. Works with mouse, pen and touch (by the grip). */
import type { Well } from './model'

export interface Dragged {
  field: string
  title: string
  kind: 'dimension' | 'measure'
  /** Where it is taken from; null: the list. `index` tells filters apart. */
  from: Well | null
  index: number
}
interface Over {
  well: Well
  at: number
}
const THRESHOLD = 5

/** One for each page. Wells carry data-well, what stands in them data-chip. */
export class Drag {
  dragged = $state.raw<Dragged | null>(null)
  over = $state.raw<Over | null>(null)
  x = $state(0)
  y = $state(0)
  /** True from a drop until the click that the browser makes of it. */
  justDropped = false
  #root: () => HTMLElement | undefined
  #drop: (dragged: Dragged, well: Well | null, at: number) => void
  #takes: (dragged: Dragged, well: Well) => boolean

  constructor(root: () => HTMLElement | undefined, takes: (dragged: Dragged, well: Well) => boolean, drop: (dragged: Dragged, well: Well | null, at: number) => void) {
    this.#root = root
    this.#takes = takes
    this.#drop = drop
  }

  /** On pointerdown of what can be dragged. With touch only the grip drags: elsewhere a finger scrolls. */
  begin(event: PointerEvent, dragged: Dragged): void {
    const target = event.target as Element
    if (event.button !== 0 || target.closest('[data-no-drag]')) return
    if (event.pointerType === 'touch' && !target.closest('[data-grip]')) return
    if (event.pointerType !== 'touch') event.preventDefault()
    if (target instanceof HTMLElement) target.closest<HTMLElement>('button, [tabindex]')?.focus({ preventScroll: true })
    const startX = event.clientX
    const startY = event.clientY
    const end = new AbortController()
    const stop = (): void => {
      end.abort()
      this.dragged = null
      this.over = null
    }
    const move = (moved: PointerEvent): void => {
      if (moved.pointerId !== event.pointerId) return
      if (!this.dragged && Math.hypot(moved.clientX - startX, moved.clientY - startY) < THRESHOLD) return
      moved.preventDefault()
      this.dragged = dragged
      this.x = moved.clientX
      this.y = moved.clientY
      this.over = this.#overAt(moved.clientX, moved.clientY, dragged)
      scroll(moved.clientY)
    }
    const up = (ended: PointerEvent): void => {
      if (ended.pointerId !== event.pointerId) return
      const found = this.dragged
      const over = found ? this.#overAt(ended.clientX, ended.clientY, found) : null
      stop()
      if (!found) return
      this.justDropped = true
      setTimeout(() => (this.justDropped = false), 0)
      const isOverNothing = !document.elementFromPoint(ended.clientX, ended.clientY)?.closest('[data-well]')
      if (over) this.#drop(found, over.well, over.at)
      else if (isOverNothing && found.from) this.#drop(found, null, 0)
    }
    const options = { signal: end.signal }
    addEventListener('pointermove', move, { ...options, passive: false })
    addEventListener('pointerup', up, options)
    addEventListener('pointercancel', stop, options)
    addEventListener('blur', stop, options)
    addEventListener('keydown', (pressed) => { if (pressed.key === 'Escape') { pressed.stopPropagation(); stop() } }, { ...options, capture: true })
  }

  #overAt(x: number, y: number, dragged: Dragged): Over | null {
    const well = document.elementFromPoint(x, y)?.closest<HTMLElement>('[data-well]')
    if (!well || !this.#root()?.contains(well)) return null
    const name = well.dataset.well as Well
    if (!this.#takes(dragged, name)) return null
    const chips = [...well.querySelectorAll<HTMLElement>('[data-chip]')].filter((chip) => !(dragged.from === name && chip.dataset.chip === `${dragged.index}`))
    let at = chips.length
    for (const [index, chip] of chips.entries()) {
      const box = chip.getBoundingClientRect()
      if (y < box.top || (y <= box.bottom && x < box.left + box.width / 2)) {
        at = index
        break
      }
    }
    return { well: name, at }
  }
}

function scroll(y: number): void {
  if (y < 60) scrollBy(0, -12)
  else if (y > innerHeight - 60) scrollBy(0, 12)
}
