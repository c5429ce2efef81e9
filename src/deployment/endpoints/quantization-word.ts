/**
 * The word that requests use for a format of weights: of the format that they are computed in, or of the stored one where
 * that has fewer bits, because computing a 4-bit checkpoint in bf16 brings nothing back. Formats that no word fits (5 and
 * 6 bits, 2 and 3 bits) are `unknown`, so that a request for `int8` never gets less.
 */

import type { WeightFormat } from '../../base/weights-choice.ts'
import type { Quantization } from './endpoint-spec.ts'

interface Worded {
  readonly word: Quantization
  readonly bits: number
}

const COMPUTED: Readonly<Record<Exclude<WeightFormat, 'source'>, Worded>> = {
  f32: { word: 'fp32', bits: 32 },
  bf16: { word: 'bf16', bits: 16 },
  f16: { word: 'fp16', bits: 16 },
  int8: { word: 'int8', bits: 8 },
  int4: { word: 'int4', bits: 4 },
}

/** By names of GGUF's types, of quantized safetensors and of ONNX's element types; the first that matches counts. */
const STORED: readonly (readonly [pattern: RegExp, worded: Worded])[] = [
  [/^F32$/, COMPUTED.f32],
  [/^BF16$/, COMPUTED.bf16],
  [/^F16$/, COMPUTED.f16],
  [/^Q8_|INT8$/, COMPUTED.int8],
  [/^I?Q4_|INT4$/, COMPUTED.int4],
  [/FP8$|^F8_/, { word: 'fp8', bits: 8 }],
  [/FP4$|NF4$/, { word: 'fp4', bits: 4 }],
  [/^Q6_/, { word: 'unknown', bits: 6 }],
  [/^Q5_|INT[567]$/, { word: 'unknown', bits: 5 }],
]
/** Two and three bits, ternary, and what is not known. */
const LEAST: Worded = { word: 'unknown', bits: 2 }

/** @param stored - name of the stored format, such as `Q4_1` or `GPTQ_INT4` */
export function quantizationWord(computed: WeightFormat, stored: string): Quantization {
  const kept = STORED.find(([pattern]) => pattern.test(stored))?.[1] ?? LEAST
  if (computed === 'source') return kept.word
  const { word, bits } = COMPUTED[computed]
  return bits <= kept.bits ? word : kept.word
}
