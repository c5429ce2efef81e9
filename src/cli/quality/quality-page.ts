/**
 * The record of `ingot bench quality` as one HTML page that needs nothing else: a table, three plots drawn as SVG, and
 * the record itself. Makes text only.
 */

import { formatBytes } from '../../config/option.ts'
import type { VariantResult } from './measure-variants.ts'
import { COLUMNS, conditions, type QualityRecord } from './quality-report.ts'

const WIDTH = 640
const LEFT = 90
const RIGHT = WIDTH - 40
const BAR = 22

const STYLE = `
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --faint: #d8dee4; --a: #0a66c2; --b: #c2570a; --c: #5b8c2a }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --faint: #30363d; --a: #58a6ff; --b: #f0883e; --c: #7ee787 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid var(--faint); white-space: nowrap }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left }
.wide { overflow-x: auto } svg { max-width: 100%; height: auto } text { fill: var(--ink); font: 12px system-ui, sans-serif }
ul { padding-left: 1.2rem } pre { overflow-x: auto; border: 1px solid var(--faint); padding: 1rem; font-size: 12px }`

export function qualityPage(record: QualityRecord): string {
  const { variants } = record
  const head = COLUMNS.map(([title]) => `<th>${title.toLowerCase()}</th>`).join('')
  const rows = variants
    .map(
      (variant) =>
        `<tr>${COLUMNS.map(([, cell]) => `<td>${escaped(cell(variant))}</td>`).join('')}</tr>`,
    )
    .join('\n')
  const compared = variants.filter(({ meanKl }) => meanKl !== null)
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Quality of ${escaped(record.model)}</title><style>${STYLE}</style></head><body>
<h1>Quality of ${escaped(record.model)}</h1>
<ul>${conditions(record)
    .map((line) => `<li>${escaped(line)}</li>`)
    .join('')}</ul>
<div class="wide"><table><thead><tr>${head}</tr></thead><tbody>${rows}</tbody></table></div>
<h2>Divergence from ${escaped(record.reference)}</h2>
${divergencePlot(compared)}
<h2>What it costs, what it saves</h2>
${sizePlot(compared)}
<h2>Speed</h2>
${speedPlot(variants)}
<h2>Record</h2>
<pre>${escaped(JSON.stringify(record, null, 2))}</pre>
</body></html>
`
}

/** Median, 90th and 99th percentile and mean of KL, on a logarithmic axis. */
function divergencePlot(variants: readonly VariantResult[]): string {
  if (variants.length === 0) return '<p>There is no other variant.</p>'
  const values = variants.flatMap((v) => [v.medianKl, v.meanKl, v.p90Kl, v.p99Kl])
  const axis = logAxis(values)
  const height = 50 + variants.length * 34
  const marks = variants.map((variant, row) => {
    const y = 24 + row * 34
    const x = (kl: number | null) => axis.at(kl ?? 0).toFixed(1)
    return `<text x="${LEFT - 8}" y="${y + 4}" text-anchor="end">${escaped(variant.variant)}</text>
<line x1="${x(variant.medianKl)}" x2="${x(variant.p99Kl)}" y1="${y}" y2="${y}" stroke="var(--a)" stroke-width="2"/>
${[variant.medianKl, variant.p90Kl, variant.p99Kl].map((kl) => `<circle cx="${x(kl)}" cy="${y}" r="4" fill="var(--a)"/>`).join('')}
<path d="M${x(variant.meanKl)} ${y - 8} l6 8 -6 8 -6 -8z" fill="var(--b)"/>`
  })
  const note = 'dots: median, 90th and 99th percentile; diamond: mean; nats'
  return svg(
    height,
    'KL divergence of each variant',
    `${axis.draw(height - 22)}${marks.join('')}<text x="${LEFT}" y="${height - 2}">${note}</text>`,
  )
}

/** Packed size against mean KL. */
function sizePlot(variants: readonly VariantResult[]): string {
  if (variants.length === 0) return '<p>There is no other variant.</p>'
  const height = 300
  const bottom = height - 44
  const axis = logAxis(variants.map(({ meanKl }) => meanKl))
  const most = Math.max(...variants.map(({ weightsBytes }) => weightsBytes)) * 1.1
  const y = (bytes: number) => (bottom - (bytes / most) * (bottom - 20)).toFixed(1)
  const grid = [0.25, 0.5, 0.75, 1]
    .map((share) => {
      const at = y(most * share)
      return `<line x1="${LEFT}" x2="${RIGHT}" y1="${at}" y2="${at}" stroke="var(--faint)"/><text x="${LEFT - 8}" y="${Number(at) + 4}" text-anchor="end">${formatBytes(most * share)}</text>`
    })
    .join('')
  // Variants that come out the same share a dot and a label.
  const isSame = (a: VariantResult, b: VariantResult) =>
    a.meanKl === b.meanKl && a.weightsBytes === b.weightsBytes
  const firsts = variants.filter((v, at) => variants.findIndex((other) => isSame(v, other)) === at)
  const marks = firsts.map((first) => {
    const { meanKl, weightsBytes } = first
    const same = variants.filter((other) => isSame(first, other))
    const variant = same.map((each) => each.variant).join(', ')
    const x = axis.at(meanKl ?? 0)
    const isRight = x > RIGHT - 80
    return `<circle cx="${x.toFixed(1)}" cy="${y(weightsBytes)}" r="5" fill="var(--a)"/><text x="${(isRight ? x - 9 : x + 9).toFixed(1)}" y="${Number(y(weightsBytes)) + 4}"${isRight ? ' text-anchor="end"' : ''}>${escaped(variant)}</text>`
  })
  return svg(
    height,
    'Size of the weights against mean KL',
    `${grid}${axis.draw(bottom)}${marks.join('')}<text x="${LEFT}" y="${height - 4}">mean KL in nats; up: bytes of the weights</text>`,
  )
}

/** Two bars a variant, each as a share of the fastest. */
function speedPlot(variants: readonly VariantResult[]): string {
  const kinds = [
    ['prefill', 'var(--a)', (v: VariantResult) => v.prefillTokensPerSecond],
    ['decode', 'var(--c)', (v: VariantResult) => v.decodeTokensPerSecond],
  ] as const
  let y = 4
  const parts: string[] = []
  for (const [kind, color, of] of kinds) {
    const most = Math.max(...variants.map(of))
    for (const variant of variants) {
      const width = ((RIGHT - 110 - LEFT) * of(variant)) / most
      parts.push(
        `<text x="${LEFT - 8}" y="${y + 15}" text-anchor="end">${escaped(variant.variant)}</text><rect x="${LEFT}" y="${y}" width="${width.toFixed(1)}" height="${BAR - 4}" fill="${color}"/><text x="${(LEFT + width + 6).toFixed(1)}" y="${y + 14}">${of(variant).toFixed(1)} tokens/s ${kind}</text>`,
      )
      y += BAR
    }
    y += 12
  }
  return svg(y, 'Speed of each variant', parts.join(''))
}

interface Axis {
  at(value: number): number
  draw(bottom: number): string
}

/** Whole powers of ten around the values; what is 0 stands at the left end. */
function logAxis(values: readonly (number | null)[]): Axis {
  const logs = values.flatMap((value) => (value === null || value <= 0 ? [] : [Math.log10(value)]))
  const low = logs.length === 0 ? -6 : Math.floor(Math.min(...logs))
  const high = Math.max(low + 1, logs.length === 0 ? 0 : Math.ceil(Math.max(...logs)))
  const at = (value: number): number => {
    const log = value <= 0 ? low : Math.log10(value)
    return LEFT + ((log - low) / (high - low)) * (RIGHT - LEFT)
  }
  const draw = (bottom: number): string => {
    let text = ''
    for (let power = low; power <= high; power++) {
      const x = at(10 ** power).toFixed(1)
      text += `<line x1="${x}" x2="${x}" y1="8" y2="${bottom - 14}" stroke="var(--faint)"/><text x="${x}" y="${bottom}" text-anchor="middle">1e${power}</text>`
    }
    return text
  }
  return { at, draw }
}

function svg(height: number, title: string, content: string): string {
  return `<svg viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escaped(title)}">${content}</svg>`
}

function escaped(text: string): string {
  const names: Readonly<Record<string, string>> = { '&': 'amp', '<': 'lt', '>': 'gt', '"': 'quot' }
  return text.replace(/[&<>"]/g, (letter) => `&${names[letter]};`)
}
