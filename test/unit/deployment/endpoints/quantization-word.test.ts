import { expect, it } from 'vitest'
import { quantizationWord } from '../../../../src/deployment/endpoints/quantization-word.ts'

it.each([
  ['F32', 'fp32'],
  ['BF16', 'bf16'],
  ['F16', 'fp16'],
  ['Q8_0', 'int8'],
  ['CT_INT8', 'int8'],
  ['BNB_INT8', 'int8'],
  ['INT8', 'int8'],
  ['Q4_1', 'int4'],
  ['Q4_K', 'int4'],
  ['IQ4_XS', 'int4'],
  ['GPTQ_INT4', 'int4'],
  ['AWQ_INT4', 'int4'],
  ['UINT4', 'int4'],
  ['FP8', 'fp8'],
  ['CT_FP8', 'fp8'],
  ['F8_E4M3', 'fp8'],
  ['MXFP4', 'fp4'],
  ['BNB_NF4', 'fp4'],
  ['BNB_FP4', 'fp4'],
  ['Q6_K', 'unknown'],
  ['Q5_K', 'unknown'],
  ['Q2_K', 'unknown'],
  ['GPTQ_INT3', 'unknown'],
  ['CT_INT7', 'unknown'],
  ['TQ2_0', 'unknown'],
  ['none', 'unknown'],
])('weights stored as %s are %s', (stored, word) => {
  expect(quantizationWord('source', stored)).toBe(word)
})

it.each([
  ['bf16', 'F32', 'bf16'],
  ['int8', 'BF16', 'int8'],
  ['int4', 'F16', 'int4'],
  ['f32', 'F16', 'fp16'],
  ['bf16', 'F16', 'bf16'],
  ['bf16', 'Q4_1', 'int4'],
  ['int8', 'Q4_1', 'int4'],
  ['int8', 'Q6_K', 'unknown'],
  ['int4', 'Q6_K', 'int4'],
  ['int8', 'FP8', 'int8'],
  ['int4', 'Q2_K', 'unknown'],
] as const)('weights computed in %s from %s are called %s', (computed, stored, word) => {
  expect(quantizationWord(computed, stored)).toBe(word)
})
