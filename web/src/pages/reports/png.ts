/** A chart as a picture to send around: with its title, its period and what is hidden. */
import type { ECharts } from 'echarts/core'

export async function pictured(chart: ECharts, title: string, lines: readonly string[], footnotes: readonly string[]): Promise<Blob> {
  const style = getComputedStyle(document.documentElement)
  const token = (name: string): string => style.getPropertyValue(`--${name}`).trim()
  const font = getComputedStyle(document.body).fontFamily
  const ratio = 2
  const picture = new Image()
  picture.src = chart.getDataURL({ type: 'png', pixelRatio: ratio, backgroundColor: token('surface') })
  await picture.decode()
  const margin = 24
  const width = picture.width / ratio + 2 * margin
  const canvas = document.createElement('canvas')
  const pen = canvas.getContext('2d')
  if (!pen) throw new Error('this browser draws no pictures')
  pen.font = `12px ${font}`
  const notes = footnotes.flatMap((text) => wrapped(pen, text, width - 2 * margin))
  const titles = ((): string[] => {
    pen.font = `600 18px ${font}`
    return wrapped(pen, title, width - 2 * margin)
  })()
  const head = margin + titles.length * 24 + lines.length * 18 + 12
  canvas.width = width * ratio
  canvas.height = (head + picture.height / ratio + 8 + notes.length * 16 + margin) * ratio
  pen.scale(ratio, ratio)
  pen.fillStyle = token('surface')
  pen.fillRect(0, 0, width, canvas.height)
  pen.textBaseline = 'top'
  let y = margin
  pen.fillStyle = token('text')
  pen.font = `600 18px ${font}`
  for (const text of titles) {
    pen.fillText(text, margin, y)
    y += 24
  }
  pen.fillStyle = token('text-2')
  pen.font = `13px ${font}`
  for (const text of lines) {
    pen.fillText(text, margin, y)
    y += 18
  }
  pen.drawImage(picture, margin, head, picture.width / ratio, picture.height / ratio)
  y = head + picture.height / ratio + 8
  pen.font = `12px ${font}`
  for (const text of notes) {
    pen.fillText(text, margin, y)
    y += 16
  }
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('this browser draws no pictures'))), 'image/png'))
}

function wrapped(pen: CanvasRenderingContext2D, text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    const next = line ? `${line} ${word}` : word
    if (pen.measureText(next).width <= width || !line) line = next
    else {
      lines.push(line)
      line = word
    }
  }
  return [...lines, line]
}

export function downloadBlob(name: string, blob: Blob): void {
  const address = URL.createObjectURL(blob)
  const link = document.createElement('a')
  link.href = address
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(address), 10_000)
}

/** A name for a file, of a title. */
export function fileName(title: string): string {
  return title.normalize('NFKD').replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-|-$/g, '').toLowerCase().slice(0, 60) || 'report'
}
