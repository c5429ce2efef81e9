/**
 * What a reader must make of the configurations of fixtures/published-configs.json: `config.json` of well-known
 * checkpoints as their authors wrote them, with spellings of several versions of transformers and members that nothing
 * reads.
 */

import { readFileSync } from 'node:fs'
import type { ModelConfig } from '../../models/model-config.ts'

const FIXTURE = new URL('../fixtures/published-configs.json', import.meta.url)

export const PUBLISHED: Readonly<Record<string, Readonly<Record<string, unknown>>>> = JSON.parse(
  readFileSync(FIXTURE, 'utf8'),
)

export const EXPECTED: Readonly<Record<string, Partial<ModelConfig>>> = {
  'mistralai/Mistral-7B-v0.1': { headDim: 128, layers: Array(32).fill({ rope: 0, window: 4096 }) },
  'Qwen/Qwen2.5-0.5B-Instruct': {
    headDim: 64,
    tieWordEmbeddings: true,
    biases: { qkv: true, attentionOutput: false, mlp: false, norm: false },
    layers: Array(24).fill({ rope: 0, window: null }),
  },
  'Qwen/Qwen3-0.6B': { headDim: 128, qkNorm: 'head', attentionScale: 1 / Math.sqrt(128) },
  'google/gemma-2-2b-it': {
    activation: 'gelu_tanh',
    attentionScale: 1 / 16,
    attentionSoftcap: 50,
    logitSoftcap: 30,
    embeddingScale: 48,
    tieWordEmbeddings: true,
    norm: { kind: 'rms', epsilon: 1e-6, weightOffset: 1 },
    eosTokenIds: [1, 107],
    layers: Array.from({ length: 26 }, (_, i) => ({
      rope: 0,
      window: i % 2 === 0 ? 4096 : null,
    })),
  },
  'google/gemma-3-1b-it': {
    qkNorm: 'head',
    attentionSoftcap: null,
    logitSoftcap: null,
    layers: Array.from({ length: 26 }, (_, i) =>
      i % 6 === 5 ? { rope: 0, window: null } : { rope: 1, window: 512 },
    ),
  },
  'microsoft/Phi-3.5-mini-instruct': {
    maxContextTokens: 4096,
    ropes: [
      {
        theta: 10_000,
        rotaryDim: 96,
        style: 'half',
        linearFactor: 1,
        factorsTensor: null,
        factors: Array(48).fill(2),
        magnitude: Math.sqrt(1 + Math.log(32) / Math.log(4096)),
      },
    ],
  },
  'microsoft/Phi-4-mini-instruct': {
    headDim: 128,
    maxContextTokens: 4096,
    tieWordEmbeddings: true,
  },
  'allenai/OLMo-2-1124-7B': { qkNorm: 'all', headDim: 128 },
  'ibm-granite/granite-3.3-2b-instruct': {
    attentionScale: 1 / 64,
    embeddingScale: 12,
    residualScale: 0.22,
    logitScale: 1 / 8,
  },
  'HuggingFaceTB/SmolLM3-3B': {
    tieWordEmbeddings: true,
    layers: Array.from({ length: 36 }, (_, i) => ({
      rope: i % 4 === 3 ? null : 0,
      window: null,
    })),
  },
  'CohereLabs/c4ai-command-r7b-12-2024': {
    norm: { kind: 'layer', epsilon: 1e-5, weightOffset: 0 },
    logitScale: 0.25,
    tieWordEmbeddings: true,
    layers: Array.from({ length: 32 }, (_, i) =>
      i % 4 === 3 ? { rope: null, window: null } : { rope: 0, window: 4096 },
    ),
  },
  'THUDM/GLM-4-9B-0414': {
    biases: { qkv: false, attentionOutput: false, mlp: false, norm: false },
    ropes: [
      {
        theta: 10_000,
        rotaryDim: 64,
        style: 'interleaved',
        linearFactor: 1,
        factorsTensor: null,
        factors: null,
        magnitude: 1,
      },
    ],
  },
  'bigcode/starcoder2-3b': {
    activation: 'gelu_tanh',
    biases: { qkv: true, attentionOutput: true, mlp: true, norm: true },
    layers: Array(30).fill({ rope: 0, window: 4096 }),
  },
  'openai-community/gpt2': {
    headDim: 64,
    intermediateSize: 3072,
    maxContextTokens: 1024,
    ropes: [],
    tieWordEmbeddings: true,
  },
}
