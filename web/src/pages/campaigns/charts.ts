/** What the charts of campaigns are drawn from. */
import type { ChartOption } from '../../lib/components/Chart.svelte'
import { count, percent } from '../../lib/format'

export interface Series {
  name: string
  values: readonly (number | null)[]
  kind?: 'line' | 'bar'
  /** A share, drawn on an axis of its own to the right. */
  share?: boolean
  stack?: string
  area?: boolean
  dashed?: boolean
}

/** Lines and bars over texts; `unit` names the axis. */
export function over(texts: readonly string[], series: readonly Series[], unit: string, share = false): ChartOption {
  const right = series.some((one) => one.share)
  const axis = (isShare: boolean, name: string): Record<string, unknown> => ({ type: 'value', name, min: 0, axisLabel: { formatter: (value: number) => (isShare ? `${+(value * 100).toFixed(2)} %` : new Intl.NumberFormat('en-US', { notation: 'compact' }).format(value)) } })
  return {
    grid: { left: 8, right: right ? 8 : 16, top: 56, bottom: 4, containLabel: true },
    legend: { top: 0, left: 0 },
    tooltip: { trigger: 'axis', valueFormatter: (value: unknown) => (typeof value === 'number' ? (value % 1 !== 0 || share ? percent(value) : count(value)) : '–') },
    xAxis: { type: 'category', data: [...texts], boundaryGap: series.some((one) => one.kind === 'bar') },
    yAxis: right ? [axis(false, unit), { ...axis(true, 'share'), splitLine: { show: false } }] : axis(share, unit),
    series: series.map((one) => ({
      name: one.name,
      type: one.kind ?? 'line',
      data: [...one.values],
      yAxisIndex: right && one.share ? 1 : 0,
      symbol: texts.length > 1 ? 'none' : 'circle',
      barMaxWidth: 36,
      ...(one.stack ? { stack: one.stack } : {}),
      ...(one.area ? { areaStyle: { opacity: 0.12 } } : {}),
      lineStyle: { width: 2, type: one.dashed ? 'dashed' : 'solid' },
    })),
  }
}

const dayText = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' })

/** 17 Nov for 2026-11-17. */
export function dayShort(day: string | number | null): string {
  return day === null ? '–' : dayText.format(new Date(`${String(day).slice(0, 10)}T00:00:00Z`))
}
