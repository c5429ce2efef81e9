/** The name that was probably meant, for messages about names that nothing has. Pure; knows no names itself. */

/** ` (did you mean "port"?)`, or nothing where no name is near. */
export function didYouMean(written: string, known: readonly string[]): string {
  const near = nearest(written, known)
  return near === undefined ? '' : ` (did you mean "${near}"?)`
}

/** Spelling that people vary first, then a slip of the finger: at most two letters, and a third of the name. */
function nearest(written: string, known: readonly string[]): string | undefined {
  const flat = flatten(written)
  if (flat === '') return undefined
  const sameLetters = known.find((name) => flatten(name) === flat)
  if (sameLetters !== undefined) return sameLetters
  const slips = Math.min(2, Math.floor(flat.length / 3))
  const ranked = known
    .map((name) => {
      const other = flatten(name)
      const offLength = Math.abs(other.length - flat.length)
      return { name, distance: editDistance(flat, other), offLength }
    })
    .sort((one, other) => one.distance - other.distance || one.offLength - other.offLength)
  const [best] = ranked
  if (best !== undefined && best.distance <= slips) return best.name
  return known.find((name) => isPart(flat, flatten(name)))
}

function isPart(one: string, other: string): boolean {
  return other !== '' && (other.includes(one) || one.includes(other))
}

/** Spelling differences that people make: case, and how words are joined. */
function flatten(name: string): string {
  return name
    .replace(/^INGOT_/, '')
    .replace(/[^a-zA-Z0-9]/g, '')
    .toLowerCase()
    .slice(0, MAX_LENGTH)
}

const MAX_LENGTH = 100

/** Letters to put in, leave out, change, or swap with their neighbour (optimal string alignment). */
function editDistance(one: string, other: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: other.length + 1 }, (_, at) => at)
  for (let i = 1; i <= one.length; i += 1) {
    const row = [i]
    for (let j = 1; j <= other.length; j += 1) {
      const isSame = one[i - 1] === other[j - 1]
      const cost = (last[j - 1] ?? 0) + (isSame ? 0 : 1)
      row[j] = Math.min(cost, (last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1)
      const isSwap = i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1]
      if (isSwap) row[j] = Math.min(row[j] ?? 0, (beforeLast[j - 2] ?? 0) + 1)
    }
    beforeLast = last
    last = row
  }
  return last[other.length] ?? 0
}
