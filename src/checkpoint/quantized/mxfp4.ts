/**
 * `quant_method: mxfp4`, as gpt-oss is published: matrices of stacked experts in blocks of 32 numbers of 4 bits (E2M1)
 * that share a power of two.
 *
 *   M_blocks U8 [experts, outputs, inputs / 32, 16]   weights 2i and 2i + 1 of a block in byte i, lower nibble first
 *   M_scales U8 [experts, outputs, inputs / 32]       exponents, 127 more than they mean
 *
 * Together they are M [experts, outputs, inputs] in MXFP4, each expert's rows being outputs; a dense M would hold them as
 * columns. Source: transformers 5, `integrations/mxfp4.py`; Microscaling Formats 1.0.
 */

import type { Members } from './members.ts'
import { moduleOf, type Scheme } from './scheme.ts'

const BLOCK = 32
const BLOCK_BYTES = 16

export function readMxfp4(members: Members): Scheme {
  members.neutral('dequantize', [false])
  members.refuseOthers(['modules_to_not_convert', 'quant_method'])
  return {
    description: 'MXFP4, an exponent a block of 32',
    weightOf(tensor, companions) {
      const name = moduleOf(tensor.name, '_blocks')
      if (name === null) return null
      const [experts = 0, outputs = 0, groups = 0] = tensor.shape
      const blocks = companions.take(tensor.name, tensor, {
        dtypes: ['U8'],
        shapes: [[null, null, null, BLOCK_BYTES]],
      })
      const exponents = companions.take(`${name}_scales`, tensor, {
        dtypes: ['U8'],
        shapes: [[experts, outputs, groups]],
      })
      return { name, shape: [experts, outputs, groups * BLOCK], blocks, exponents }
    },
  }
}
