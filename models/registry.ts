/**
 * The architectures that Ingot computes. The only place that lists them; a new one is a file and a line here.
 * Owns nothing; decides by the checkpoint's own word, never by a file's name.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { cohere2 } from './cohere2.ts'
import { deepseekV3 } from './deepseek-v3.ts'
import { modelError } from './errors.ts'
import { gemma2 } from './gemma2.ts'
import { gemma3 } from './gemma3.ts'
import { glm4 } from './glm4.ts'
import { gptOss } from './gpt-oss.ts'
import { gpt2 } from './gpt2.ts'
import { granite } from './granite.ts'
import { llama } from './llama.ts'
import { mistral } from './mistral.ts'
import { mixtral } from './mixtral.ts'
import type { ModelDefinition } from './model-definition.ts'
import { olmo2 } from './olmo2.ts'
import { phi3 } from './phi3.ts'
import { qwen2 } from './qwen2.ts'
import { qwen2Moe } from './qwen2-moe.ts'
import { qwen3 } from './qwen3.ts'
import { qwen3Moe } from './qwen3-moe.ts'
import { shown } from './reading/config-keys.ts'
import { smollm3 } from './smollm3.ts'
import { starcoder2 } from './starcoder2.ts'

const DEFINITIONS: readonly ModelDefinition[] = [
  cohere2,
  deepseekV3,
  gemma2,
  gemma3,
  glm4,
  gpt2,
  gptOss,
  granite,
  mixtral, // in GGUF a `llama` with experts
  llama,
  mistral,
  olmo2,
  phi3,
  qwen2,
  qwen2Moe,
  qwen3,
  qwen3Moe,
  smollm3,
  starcoder2,
]

/** Where each kind of checkpoint says its architecture. */
const ARCHITECTURE_KEYS: Readonly<Record<Checkpoint['kind'], string>> = {
  gguf: 'general.architecture',
  safetensors: 'model_type',
}

/** Architectures by the names that this kind of checkpoint has for them, each once. */
export function knownModelTypes(kind: Checkpoint['kind'] = 'safetensors'): readonly string[] {
  const names = DEFINITIONS.map(({ architectures }) => architectures[kind])
  return [...new Set(names.filter((name) => name !== undefined))]
}

/** @throws ServingError MODEL_UNSUPPORTED_ARCHITECTURE with the list of known ones */
export function definitionOf(checkpoint: Checkpoint): ModelDefinition {
  const { kind } = checkpoint
  const key = ARCHITECTURE_KEYS[kind]
  const architecture = checkpoint.metadata.get(key)
  const definition = DEFINITIONS.find(
    (candidate) =>
      architecture !== undefined &&
      candidate.architectures[kind] === architecture &&
      (candidate.claims?.(checkpoint) ?? true),
  )
  if (definition !== undefined) return definition
  const got = architecture === undefined ? 'no such key' : shown(architecture)
  throw modelError('MODEL_UNSUPPORTED_ARCHITECTURE', {
    details: { file: checkpoint.files[0] ?? '', key, known: knownModelTypes(kind).join(', '), got },
  })
}
