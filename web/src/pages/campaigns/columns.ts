/** The columns of the list: each shows a figure, most a second one below it. */
export interface ListColumn {
  key: string
  title: string
  main: string
  second?: string
  /** What the second figure is called below the first one. */
  word?: string
  /** Not shown unless chosen. */
  extra?: boolean
}

export const COLUMNS: readonly ListColumn[] = [
  { key: 'delivered', title: 'Delivered', main: 'delivered', second: 'sent', word: 'sent' },
  { key: 'opened', title: 'Opened', main: 'human_open_rate', second: 'open_rate', word: 'by anyone' },
  { key: 'clicked', title: 'Clicked', main: 'click_rate', second: 'all_click_rate', word: 'by anyone' },
  { key: 'orders', title: 'Orders', main: 'orders', second: 'conversion_rate', word: 'of delivered' },
  { key: 'revenue', title: 'Revenue', main: 'revenue', second: 'revenue_per_recipient', word: 'per recipient' },
  { key: 'ctor', title: 'Click-to-open', main: 'click_to_open_rate', second: 'human_clicks', word: 'clicks' },
  { key: 'bounced', title: 'Bounced', main: 'hard_bounce_rate', second: 'soft_bounce_rate', word: 'soft' },
  { key: 'unsubscribed', title: 'Unsubscribed', main: 'unsubscribe_rate', second: 'unsubscribes', word: 'messages' },
  { key: 'spam', title: 'Spam', main: 'spam_rate', second: 'spam', word: 'messages' },
  { key: 'opens', title: 'Opens', main: 'human_opens', second: 'opens', word: 'by anyone', extra: true },
  { key: 'clicks', title: 'Clicks', main: 'human_clicks', second: 'clicks', word: 'by anyone', extra: true },
  { key: 'delivery', title: 'Delivery rate', main: 'delivery_rate', second: 'bounce_rate', word: 'bounced', extra: true },
  { key: 'order', title: 'Average order', main: 'average_order_value', extra: true },
]
const PLACE = 'campaigns.columns'

export function chosenColumns(): string[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(PLACE) ?? 'null')
    if (Array.isArray(kept)) return kept.filter((key): key is string => COLUMNS.some((column) => column.key === key))
  } catch {
    /* what is kept there is none of ours */
  }
  return COLUMNS.filter((column) => !column.extra).map((column) => column.key)
}

export function keepColumns(keys: readonly string[]): void {
  localStorage.setItem(PLACE, JSON.stringify(keys))
}
