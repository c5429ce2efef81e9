/** The table of what was chosen and why, as printed at start. Knows columns, not settings. */

export interface DescribedLine {
  readonly name: string
  readonly value: string
  readonly reason: string
}

/** Three aligned columns; no trailing line break. */
export function describe(lines: readonly DescribedLine[]): string {
  const nameWidth = Math.max(...lines.map(({ name }) => name.length), 0)
  const valueWidth = Math.min(48, Math.max(...lines.map(({ value }) => value.length), 0))
  return lines
    .map(({ name, value, reason }) => {
      const cells = `  ${name.padEnd(nameWidth)}  ${value.padEnd(valueWidth)}`
      return reason === '' ? cells.trimEnd() : `${cells}  ${reason}`
    })
    .join('\n')
}
