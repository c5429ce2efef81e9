/** Everything that may be in a decoder's checkpoint, from what its blocks want. Reads no bytes. */

import type { TensorInfo } from '../../src/checkpoint/checkpoint.ts'
import type { ModelConfig } from '../model-config.ts'
import { LONG_FACTORS_TENSOR, SHORT_FACTORS_TENSOR } from '../reading/gguf-rope.ts'
import type { ExpectedTensor } from '../tensor-check.ts'
import type { PartTensors, Wiring } from './block.ts'
import type { TensorNames } from './tensor-names.ts'

/** What vectors may be stored as: they are read whole, never through a quantized kernel. */
export const DENSE: readonly TensorInfo['format'][] = ['F32', 'F16', 'BF16']

export function expectedTensors(
  config: ModelConfig,
  names: TensorNames,
  layer: Wiring,
): readonly ExpectedTensor[] {
  const { hiddenSize, vocabSize, tieWordEmbeddings, biases } = config
  const tensors: ExpectedTensor[] = [
    { name: names.embedding, shape: [vocabSize, hiddenSize] },
    { name: names.norm('weight'), shape: [hiddenSize], formats: DENSE },
    { name: names.head, shape: [vocabSize, hiddenSize], isOptional: tieWordEmbeddings },
  ]
  if (names.positions !== null) {
    tensors.push({ name: names.positions, shape: [config.maxContextTokens, hiddenSize] })
  }
  if (biases.norm !== false) {
    const isOptional = biases.norm === 'optional'
    tensors.push({ name: names.norm('bias'), shape: [hiddenSize], isOptional, formats: DENSE })
  }
  tensors.push(...ropeTensors(config, names))
  for (let index = 0; index < config.numLayers; index++) {
    for (const part of layer.parts({ config, names, index })) {
      if ('part' in part) tensors.push(...partTensors(names, index, part))
      else tensors.push({ ...part, name: names.inLayer(index, part.name) })
    }
  }
  return tensors
}

/** Factors that are read, and what only repeats them or stands for longer contexts. */
function ropeTensors({ ropes, numLayers }: ModelConfig, names: TensorNames): ExpectedTensor[] {
  const tensors: ExpectedTensor[] = []
  for (const { factorsTensor, rotaryDim } of ropes) {
    const shape = [rotaryDim / 2]
    if (factorsTensor !== null) tensors.push({ name: factorsTensor, shape, formats: ['F32'] })
    if (factorsTensor === SHORT_FACTORS_TENSOR) {
      tensors.push({ name: LONG_FACTORS_TENSOR, shape, isOptional: true })
    }
    // Older versions of transformers stored the inverse frequencies.
    for (let layer = 0; layer < numLayers; layer++) {
      const name = names.inLayer(layer, 'self_attn.rotary_emb.inv_freq')
      tensors.push({ name, shape, isOptional: true, formats: DENSE })
    }
  }
  return tensors
}

/** A weight, and its bias: must be, must not be, or may be there. */
function partTensors(names: TensorNames, layer: number, wanted: PartTensors): ExpectedTensor[] {
  const { part, shape, bias } = wanted
  const isMatrix = shape.length > 1
  const stored = isMatrix && names.layout === 'columns' ? [...shape].reverse() : shape
  const name = names.part(layer, part, 'weight')
  const tensors: ExpectedTensor[] = [
    isMatrix ? { name, shape: stored } : { name, shape: stored, formats: DENSE },
  ]
  if (bias === false) return tensors
  const biasName = names.part(layer, part, 'bias')
  const isOptional = bias === 'optional'
  tensors.push({ name: biasName, shape: shape.slice(0, 1), isOptional, formats: DENSE })
  return tensors
}
