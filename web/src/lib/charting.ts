/** The tokens as ECharts wants them: charts take their colours from the theme that is shown. */
import type { EChartsCoreOption } from 'echarts/core'

interface Colours {
  series: string[]
  text: string
  muted: string
  line: string
  surface: string
  /** An option with what it leaves open: palette, text, grid, axes, tooltip. */
  applied: (option: EChartsCoreOption) => EChartsCoreOption
}

/** Of the theme that the document shows now; `_theme` only makes callers depend on it. */
export function colours(_theme: string): Colours {
  const style = getComputedStyle(document.documentElement)
  const token = (name: string): string => style.getPropertyValue(`--${name}`).trim()
  const found = {
    series: [1, 2, 3, 4, 5, 6, 7, 8].map((number) => token(`series-${number}`)),
    text: token('text'),
    muted: token('text-2'),
    line: token('line'),
    surface: token('surface'),
  }
  const font = getComputedStyle(document.body).fontFamily
  const axis = (given: unknown): unknown => {
    if (Array.isArray(given)) return given.map(axis)
    if (given === undefined) return undefined
    const own = given as Record<string, unknown>
    return {
      nameTextStyle: { color: found.muted, align: 'left' },
      ...own,
      axisLine: { lineStyle: { color: found.line }, ...(own.axisLine as object) },
      axisTick: { show: false, ...(own.axisTick as object) },
      axisLabel: { color: found.muted, hideOverlap: true, ...(own.axisLabel as object) },
      splitLine: { lineStyle: { color: found.line }, ...(own.splitLine as object) },
    }
  }
  return {
    ...found,
    applied: (option) => ({
      animation: false,
      color: found.series,
      textStyle: { fontFamily: font, color: found.text },
      ...option,
      grid: option.grid ?? { left: 8, right: 12, top: 32, bottom: 8, containLabel: true },
      ...(option.xAxis === undefined ? {} : { xAxis: axis(option.xAxis) }),
      ...(option.yAxis === undefined ? {} : { yAxis: axis(option.yAxis) }),
      legend: option.legend === undefined ? undefined : { textStyle: { color: found.muted }, icon: 'roundRect', itemWidth: 10, itemHeight: 10, type: 'scroll', pageTextStyle: { color: found.muted }, pageIconColor: found.muted, ...(option.legend as object) },
      tooltip:
        option.tooltip === undefined
          ? undefined
          : { backgroundColor: found.surface, borderColor: found.line, textStyle: { color: found.text, fontFamily: font }, renderMode: 'richText', confine: true, ...(option.tooltip as object) },
    }),
  }
}
