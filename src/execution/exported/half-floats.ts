/** IEEE 754 half precision as Node 20 has it: bits in a `Uint16Array`. Every half is exact in f32. */

let table: Float32Array | null = null

/** Write `halves` as f32 into `target`, which is at least as long. Cost: one look-up a number. */
export function widenHalves(halves: Uint16Array, target: Float32Array): void {
  table ??= makeTable()
  for (let index = 0; index < halves.length; index++) {
    target[index] = table[halves[index]!]!
  }
}

function makeTable(): Float32Array {
  return Float32Array.from({ length: 65_536 }, (_, bits) => {
    const sign = bits >= 0x8000 ? -1 : 1
    const exponent = (bits >>> 10) & 0x1f
    const fraction = bits & 0x3ff
    if (exponent === 0) return sign * fraction * 2 ** -24
    if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
  })
}
