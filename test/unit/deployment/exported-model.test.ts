/** What an exported graph decides: settings that somebody wrote must be what it does, all others say so. */

import { describe, expect, it } from 'vitest'
import type { ServingError } from '../../../src/base/errors.ts'
import { SOURCE_WEIGHTS } from '../../../src/base/weights-choice.ts'
import type { ExportedDecoder } from '../../../src/checkpoint/onnx/exported-decoder.ts'
import type { Choice } from '../../../src/config/runtime-config.ts'
import {
  exportedChoices,
  exportedKvBytesPerToken,
  exportedWeightPlan,
} from '../../../src/deployment/exported-model.ts'

const index = (name: string) => ({ name, type: 'I64', rank: 2 }) as const
const kv = (name: string) => [0, 1, 2].map((layer) => ({ key: `${name}${layer}`, value: 'v' }))
const DECODER: ExportedDecoder = {
  layout: 'optimum',
  modelType: 'llama',
  graphFile: '/m/onnx/model.onnx',
  reason: 'the only decoder of the folder',
  otherGraphs: [],
  producer: 'pytorch',
  opset: 18,
  inputs: {
    tokenIds: index('input_ids'),
    attentionMask: index('attention_mask'),
    positionIds: null,
    numLogits: null,
    useCacheBranch: null,
    past: kv('past'),
  },
  outputs: { logits: 'logits', present: kv('present') },
  activations: 'f32',
  kvType: 'F32',
  logitsType: 'F32',
  hasLastLogitsOnly: false,
  fixedTokens: null,
  sharesKvBuffer: false,
  sizes: {
    vocabSize: 96,
    maxContextTokens: 512,
    numKvHeads: 2,
    headDim: 16,
    hiddenSize: null,
    numHeads: null,
    intermediateSize: null,
  },
  eosTokenIds: [2],
  weights: [],
}

const SETTINGS: readonly Choice[] = [
  { key: 'engine.activations', value: 'int8', reason: 'default', origin: 'default' },
  { key: 'engine.kvDtype', value: 'bf16', reason: 'half the memory', origin: 'auto' },
  { key: 'engine.prefixCache', value: 'on', reason: 'default', origin: 'default' },
  { key: 'engine.draftTokens', value: '16', reason: 'default', origin: 'default' },
]

function written(key: Choice['key'], value: string): readonly Choice[] {
  return SETTINGS.map((choice) =>
    choice.key === key ? { ...choice, value, origin: 'flag' as const } : choice,
  )
}

function errorOf(call: () => unknown): ServingError {
  try {
    call()
  } catch (error) {
    return error as ServingError
  }
  throw new Error('expected an error')
}

describe('settings of an exported graph', () => {
  it('are the graph’s, and say so', () => {
    const lines = exportedChoices(DECODER, SETTINGS)
    expect(lines.map(({ key, value }) => [key, value])).toEqual([
      ['engine.activations', 'f32'],
      ['engine.kvDtype', 'f32'],
      ['engine.prefixCache', 'off'],
      ['engine.draftTokens', '0'],
    ])
    const half = exportedChoices({ ...DECODER, kvType: 'F16', activations: 'f16' }, SETTINGS)
    expect(half.slice(0, 2).map(({ value }) => value)).toEqual(['f16', 'f16'])
  })

  it('may be written as they are', () => {
    const choices = written('engine.activations', 'f32')
    expect(exportedChoices(DECODER, choices)).toHaveLength(4)
  })

  it.each([
    ['engine.activations', 'int8', '--activations f32'],
    ['engine.kvDtype', 'bf16', '--kv-dtype f32'],
    ['engine.prefixCache', 'on', '--prefix-cache off'],
    ['engine.draftTokens', '16', '--draft-tokens 0'],
  ] as const)('are refused when %s was written as %s', (key, value, expected) => {
    const error = errorOf(() => exportedChoices(DECODER, written(key, value)))
    expect(error.code).toBe('DEPLOYMENT_EXPORTED_SETTING')
    expect(error.message).toContain(`expected ${expected}`)
    expect(error.message).toContain('/m/onnx/model.onnx')
  })

  it('hold weights as they are stored', () => {
    const plan = exportedWeightPlan(DECODER, 1234, SOURCE_WEIGHTS)
    expect([plan.packedBytes, plan.tensors]).toEqual([1234, []])
    const choice = { ...SOURCE_WEIGHTS, format: 'int4' } as const
    const error = errorOf(() => exportedWeightPlan(DECODER, 1234, choice))
    expect([error.code, error.param]).toEqual(['DEPLOYMENT_EXPORTED_SETTING', '--weights'])
  })
})

it('counts a past and a present where the graph concatenates them', () => {
  expect(exportedKvBytesPerToken(DECODER)).toBe(2 * (2 * 3 * 2 * 16 * 4))
  expect(exportedKvBytesPerToken({ ...DECODER, sharesKvBuffer: true })).toBe(2 * 3 * 2 * 16 * 4)
  expect(exportedKvBytesPerToken({ ...DECODER, kvType: 'F16' })).toBe(2 * (2 * 3 * 2 * 16 * 2))
})
