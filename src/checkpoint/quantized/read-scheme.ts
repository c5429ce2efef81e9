/**
 * Which quantization scheme a `config.json` describes. The only place that lists them; a new one is a file and a line
 * here. A method that is not known is refused by name.
 */

import type { MetadataValue } from '../checkpoint.ts'
import type { JsonObject } from '../safetensors/json-text.ts'
import { readAwq } from './awq.ts'
import { readBitsAndBytes } from './bitsandbytes.ts'
import { readCompressedTensors } from './compressed-tensors.ts'
import { readFloat8 } from './float8.ts'
import { readGptq } from './gptq.ts'
import { Members } from './members.ts'
import { readMxfp4 } from './mxfp4.ts'
import type { Scheme } from './scheme.ts'

const READERS: Readonly<Record<string, (members: Members) => Scheme>> = {
  awq: readAwq,
  bitsandbytes: readBitsAndBytes,
  'compressed-tensors': readCompressedTensors,
  fp8: readFloat8,
  gptq: readGptq,
  mxfp4: readMxfp4,
}

/** The second is compressed-tensors' older word. */
export const QUANTIZATION_MEMBERS = ['quantization_config', 'compression_config'] as const

/**
 * @param file - the configuration, for errors
 * @returns `null` when the configuration says nothing of a quantization
 * @throws ServingError CHECKPOINT_QUANTIZATION_UNSUPPORTED
 */
export function readScheme(file: string, config: JsonObject): Scheme | null {
  const [key, value] = found(config)
  if (value === undefined) return null
  const top = new Members(file, '', config)
  if (!(value instanceof Map)) throw top.refusal(key, value, 'an object')
  const members = new Members(file, key, value)
  const method = members.choice('quant_method', Object.keys(READERS), defaultMethod(value))
  const reader = READERS[method]
  if (reader === undefined) throw members.refusal('quant_method', method, 'a known one')
  return reader(members)
}

function found(config: JsonObject): [key: string, value: MetadataValue | undefined] {
  for (const key of QUANTIZATION_MEMBERS) {
    const value = config.get(key) ?? undefined
    if (value !== undefined) return [key, value]
  }
  return ['', undefined]
}

/** bitsandbytes before 2024 did not name itself. */
function defaultMethod(members: JsonObject): string | undefined {
  const isOld = members.has('load_in_4bit') || members.has('load_in_8bit')
  return isOld ? 'bitsandbytes' : undefined
}
