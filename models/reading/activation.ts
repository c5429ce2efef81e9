/** Names of activation functions in `config.json`. Source: transformers, `ACT2FN`. */

import type { Activation } from '../model-config.ts'
import type { ConfigKeys } from './config-keys.ts'

const BY_NAME: ReadonlyMap<string, Activation> = new Map([
  ['silu', 'silu'],
  ['swish', 'silu'],
  ['gelu', 'gelu'],
  ['gelu_python', 'gelu'],
  ['gelu_new', 'gelu_tanh'],
  ['gelu_fast', 'gelu_tanh'],
  ['gelu_pytorch_tanh', 'gelu_tanh'],
  ['gelu_python_tanh', 'gelu_tanh'],
  ['gelu_accurate', 'gelu_tanh'],
  ['relu', 'relu'],
  ['relu2', 'relu2'],
  ['quick_gelu', 'quick_gelu'],
])

/** @param fallback - the name when the member is absent */
export function readActivation(keys: ConfigKeys, key: string, fallback: string): Activation {
  const name = keys.text(key, fallback)
  const activation = BY_NAME.get(name)
  if (activation !== undefined) return activation
  throw keys.unsupported(key, name, [...BY_NAME.keys()].join(', '))
}
