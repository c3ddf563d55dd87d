/** How a campaign did against the one before, in words that are read in seconds. */
import type { Schema } from '../../lib/api/types'
import { plural, decimal } from '../../lib/format'
import { direction } from './figures'

type Comparison = Schema<'Comparison'>
type Compared = Schema<'FigureCompared'>

const READ: Record<string, [string, string, string]> = {
  human_open_rate: ['opened more', 'opened less', 'opened about as much'],
  click_rate: ['clicked more', 'clicked less', 'clicked about as much'],
}

/** The figure at the same age where that is known, else as it is now. */
export function fair(comparison: Comparison, measure: string): { compared: Compared | undefined; atSameAge: boolean } {
  const young = comparison.same_age?.figures.find((one) => one.measure === measure)
  return young ? { compared: young, atSameAge: true } : { compared: comparison.figures.find((one) => one.measure === measure), atSameAge: false }
}

/** "Opened more and clicked about as much as the one before." */
export function verdict(comparison: Comparison): string {
  const parts = Object.entries(READ).flatMap(([measure, words]) => {
    const found = fair(comparison, measure).compared?.differences[1]
    if (!found || found.verdict === 'untested') return []
    return [found.verdict === 'more' ? words[0] : found.verdict === 'less' ? words[1] : words[2]]
  })
  if (!parts.length) return ''
  const text = parts.length === 2 && parts[0]?.split(' ').slice(1).join(' ') === parts[1]?.split(' ').slice(1).join(' ') ? `opened and ${parts[1]}` : parts.join(' and ')
  const whole = `${text} as the one before`.replace(/(more|less) as the one before$/, '$1 than the one before')
  return whole.charAt(0).toUpperCase() + whole.slice(1) + '.'
}

/** "It brought 4 orders worth 812.40, 0.30 for each mail that arrived." */
export function brought(figures: Record<string, number | null | undefined>): string {
  if (!figures.orders) return 'It has brought no orders so far.'
  return `It brought ${plural(figures.orders, 'order')} worth ${decimal(figures.revenue)}, that is ${decimal(figures.revenue_per_recipient)} for each mail that arrived.`
}

/** good, bad or nothing, for a colour. */
export function kindOf(difference: Schema<'Difference'> | null | undefined, measure: string): 'good' | 'bad' | '' {
  if (!difference || (difference.verdict !== 'more' && difference.verdict !== 'less')) return ''
  const good = direction(measure) * (difference.verdict === 'more' ? 1 : -1)
  return good > 0 ? 'good' : good < 0 ? 'bad' : ''
}
