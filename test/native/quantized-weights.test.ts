/** Quantized weights that nobody vouches for: each lie ends in a typed rejection that names the weight and what is wrong. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import type { NativeModel, NativeQuantization, NativeWeight } from '../../native/binding.ts'
import { openCheckpoint } from '../../src/checkpoint/open-checkpoint.ts'
import { nativeWeight } from '../../src/execution/native-weights.ts'
import { QUANTIZATION_CASES, type QuantizationCase } from '../support/quantization-cases.ts'
import { quantizedFolder } from '../support/quantized-folder.ts'
import { writeModelFolder } from '../support/safetensors-writer.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { binding, scratchFolder, tinyOptions } from '../support/tiny-model.ts'

const folder = scratchFolder()
afterAll(folder.remove)

let model: NativeModel
beforeEach(() => {
  model = new (binding().Model)(tinyOptions())
  return () => model.dispose()
})

async function weightOf(of: QuantizationCase, name: string): Promise<NativeWeight> {
  const path = join(folder.path, name)
  await writeModelFolder(path, quantizedFolder(of.config, of.write).quantized)
  const tensors = [(await openCheckpoint(path)).tensors.get('model.layers.0.mlp.down_proj.weight')!]
  return nativeWeight({ name: 'w', kind: 'linear', tensors })
}

function named(name: string): QuantizationCase {
  return QUANTIZATION_CASES.find((candidate) => candidate.name.startsWith(name))!
}

describe('a quantized weight', () => {
  type Lie = (quantization: NativeQuantization) => unknown
  it.each<[string, string, Lie, RegExp]>([
    ['no bits', 'GPTQ 4', ({ codes }) => ({ codes: { ...codes, bits: 0 } }), /1 to 8 bits/],
    [
      'more bits',
      'GPTQ 4',
      ({ codes }) => ({ codes: { ...codes, bits: 8 } }),
      /codes: .* do not hold 96 × 64/,
    ],
    [
      'half a bit',
      'GPTQ 4',
      ({ codes }) => ({ codes: { ...codes, bits: 0.5 } }),
      /bits must be a whole/,
    ],
    [
      'an unknown packing',
      'GPTQ 4',
      ({ codes }) => ({ codes: { ...codes, packing: 'x' } }),
      /packing/,
    ],
    ['an unknown order', 'GPTQ 4', ({ codes }) => ({ codes: { ...codes, order: 'x' } }), /order/],
    ['unknown values', 'GPTQ 4', () => ({ values: 'x' }), /values must be/],
    ['a table without one', 'GPTQ 4', () => ({ values: 'table' }), /values must be/],
    ['groups of none', 'GPTQ 4', () => ({ group: 0 }), /groups/],
    ['smaller groups', 'GPTQ 4', () => ({ group: 16 }), /zero points/],
    [
      'scales of integers',
      'GPTQ 4',
      ({ scales }) => ({ scales: { ...scales, numbers: { ...scales.numbers, dtype: 'I32' } } }),
      /scales of I32/,
    ],
    [
      'scales beyond the file',
      'GPTQ 4',
      ({ scales }) => ({ scales: { ...scales, numbers: { ...scales.numbers, offset: 2 ** 40 } } }),
      /lie outside/,
    ],
    ['fewer columns', 'GPTQ 4', ({ scales }) => ({ scales: { ...scales, columns: 63 } }), /scales/],
    [
      'half of nested scales',
      'GPTQ 4',
      ({ scales }) => ({ scales: { ...scales, nestedBlock: 4 } }),
      /nested scales/,
    ],
    [
      'an unknown layout',
      'GPTQ 4',
      ({ scales }) => ({ scales: { ...scales, layout: 'x' } }),
      /layout/,
    ],
    [
      'an order that is too short',
      'GPTQ 4',
      ({ groupOfInput }) => ({ groupOfInput: { ...groupOfInput, byteLength: 4 } }),
      /expected 384/,
    ],
    [
      'an order of other bytes',
      'GPTQ 4',
      ({ groupOfInput }) => ({ groupOfInput: { ...groupOfInput, offset: 4096 } }),
      /input \d+ is in group/,
    ],
    [
      'other blocks',
      'bitsandbytes nf4',
      ({ scales }) => ({ scales: { ...scales, block: 128 } }),
      /scales/,
    ],
  ])('is refused for %s', async (name, of, lie, message) => {
    const good = await weightOf(named(of), name)
    const part = good.parts![0]!
    const quantization = { ...part.quantization!, ...(lie(part.quantization!) as object) }
    await expect(
      model.loadWeights([{ ...good, parts: [{ ...part, quantization }] }]),
    ).rejects.toMatchObject({
      code: 'NATIVE_BAD_WEIGHT',
      message: expect.stringMatching(message),
    })
    expect(model.memory().weightsBytes).toBe(0)
    await model.loadWeights([good])
  })

  it('is refused as a vector, and with a scale that is not finite', async () => {
    const good = await weightOf(named('GPTQ 4'), 'infinite')
    const loading = model.loadWeights([{ ...good, kind: 'vector' }])
    await expect(loading).rejects.toMatchObject({ message: /linear only/ })
    const { file, offset } = good.parts![0]!.quantization!.scales.numbers!
    const bytes = readFileSync(file)
    bytes.writeUInt16LE(0x7c00, offset)
    writeFileSync(file, bytes)
    await expect(model.loadWeights([good])).rejects.toMatchObject({
      code: 'NATIVE_BAD_WEIGHT',
      message: /weight "w": GPTQ_INT4 in .*model\.safetensors: scales: inf for row 0, group 0/,
    })
  })

  it('survives 600 mutations of its bytes, each ending in a load or a typed rejection', async () => {
    let numLoaded = 0
    for (const [index, of] of QUANTIZATION_CASES.entries()) {
      const good = await weightOf(of, `mutated-${index}`)
      const { file } = good.parts![0]!
      const original = readFileSync(file)
      for (let round = 0; round < Math.ceil(600 / QUANTIZATION_CASES.length); round++) {
        const seed = 1000 * index + round
        const random = seededRandom(seed)
        const bytes = Buffer.from(original)
        const header = 8 + Number(bytes.readBigUInt64LE(0))
        for (let edit = 0; edit < 2000; edit++) {
          bytes[header + random.below(bytes.length - header)] = random.below(256)
        }
        writeFileSync(file, bytes)
        try {
          await model.loadWeights([{ ...good, name: String(seed) }])
          numLoaded += 1
        } catch (error) {
          expect((error as { code: string }).code, `seed ${seed}`).toBe('NATIVE_BAD_WEIGHT')
        }
      }
    }
    expect(numLoaded).toBeGreaterThan(60)
  })
})
