/** Under which names experts lie in each kind of checkpoint: GGUF stacks them, Hugging Face's Qwen does not. */

import type { ExpertNames, NameChanges } from './tensor-names.ts'

/** The router. */
export const ROUTER_NAMES: NameChanges = {
  gguf: { ffn_gate_inp: 'ffn_gate_inp' },
  safetensors: { ffn_gate_inp: 'mlp.gate' },
}

export const GGUF_EXPERTS: ExpertNames = {
  gateUp: ['ffn_gate_exps.weight', 'ffn_up_exps.weight'],
  down: 'ffn_down_exps.weight',
}

export const QWEN_EXPERTS: ExpertNames = {
  gateUp: ['mlp.experts.{}.gate_proj.weight', 'mlp.experts.{}.up_proj.weight'],
  down: 'mlp.experts.{}.down_proj.weight',
}

const SHARED_GGUF = {
  ffn_gate_shexp: 'ffn_gate_shexp',
  ffn_up_shexp: 'ffn_up_shexp',
  ffn_down_shexp: 'ffn_down_shexp',
}

/** @param module - that holds the shared expert */
export function sharedExpertNames(module: string): NameChanges {
  return {
    gguf: SHARED_GGUF,
    safetensors: {
      ffn_gate_shexp: `${module}.gate_proj`,
      ffn_up_shexp: `${module}.up_proj`,
      ffn_down_shexp: `${module}.down_proj`,
    },
  }
}
