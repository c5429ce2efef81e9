/**
 * The architectures that Ingot computes. The only place that lists them; a new one is a file and a line here.
 * Owns nothing; decides by the checkpoint's own word, never by a file's name.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { modelError } from './errors.ts'
import { llama } from './llama.ts'
import type { ModelDefinition } from './model-definition.ts'
import { shown } from './reading/config-keys.ts'

const DEFINITIONS: readonly ModelDefinition[] = [llama]

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
