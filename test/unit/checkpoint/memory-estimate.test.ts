import { describe, expect, it } from 'vitest'
import type { Checkpoint, TensorInfo } from '../../../src/checkpoint/checkpoint.ts'
import { estimateWeights } from '../../../src/checkpoint/memory-estimate.ts'

function makeCheckpoint(tensors: readonly Partial<TensorInfo>[]): Checkpoint {
  const whole = tensors.map((tensor, i) => ({ name: `t${i}`, file: 'f', offset: 0, ...tensor }))
  return {
    kind: 'gguf',
    files: ['f'],
    metadata: new Map(),
    tensors: new Map(whole.map((tensor) => [tensor.name, tensor as TensorInfo])),
    totalTensorBytes: whole.reduce((sum, tensor) => sum + (tensor.byteLength ?? 0), 0),
  }
}

describe('estimateWeights', () => {
  it('counts parameters and bytes by format, the largest first', () => {
    const checkpoint = makeCheckpoint([
      { format: 'F32', shape: [64], byteLength: 256 },
      { format: 'Q4_1', shape: [10, 64], byteLength: 400 },
      { format: 'Q4_1', shape: [20, 64], byteLength: 800 },
    ])
    expect(estimateWeights(checkpoint)).toEqual({
      numTensors: 3,
      numParameters: 64 + 30 * 64,
      bytes: 1456,
      formats: [
        { format: 'Q4_1', numTensors: 2, numParameters: 1920, bytes: 1200 },
        { format: 'F32', numTensors: 1, numParameters: 64, bytes: 256 },
      ],
    })
  })
})
