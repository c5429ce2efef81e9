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
  'mistralai/Mixtral-8x7B-v0.1': {
    headDim: 128,
    layers: Array(32).fill({ rope: 0, window: null }),
    experts: {
      numExperts: 8,
      size: 14_336,
      router: { scoring: 'softmax', topK: 2, normalize: true },
      hasCorrection: false,
      hasBias: false,
      shared: null,
      unit: { kind: 'silu' },
    },
  },
  'Qwen/Qwen1.5-MoE-A2.7B': {
    biases: { qkv: true, attentionOutput: false, mlp: false, norm: false },
    layers: Array(24).fill({ rope: 0, window: null, isDense: false }),
    experts: {
      numExperts: 60,
      size: 1408,
      router: { scoring: 'softmax', topK: 4, normalize: false },
      hasCorrection: false,
      hasBias: false,
      shared: { size: 5632, isGated: true },
      unit: { kind: 'silu' },
    },
  },
  'Qwen/Qwen3-30B-A3B': {
    qkNorm: 'head',
    headDim: 128,
    layers: Array(48).fill({ rope: 0, window: null, isDense: false }),
    experts: {
      numExperts: 128,
      size: 768,
      router: { scoring: 'softmax', topK: 8, normalize: true },
      hasCorrection: false,
      hasBias: false,
      shared: null,
      unit: { kind: 'silu' },
    },
  },
  'openai/gpt-oss-20b': {
    headDim: 64,
    biases: { qkv: true, attentionOutput: true, mlp: false, norm: false },
    layers: Array.from({ length: 24 }, (_, i) => ({ rope: 0, window: i % 2 === 0 ? 128 : null })),
    experts: {
      numExperts: 32,
      size: 2880,
      router: { scoring: 'softmax_chosen', topK: 4, normalize: false },
      hasCorrection: false,
      hasBias: true,
      shared: null,
      unit: { kind: 'silu', alpha: 1.702, limit: 7, upOffset: 1 },
    },
  },
  'deepseek-ai/DeepSeek-V3': {
    numHeads: 128,
    headDim: 576,
    kvLayer: { numKvHeads: 1, headDim: 576, valueDim: 512 },
    attentionScale: (0.1 * Math.log(40) + 1) ** 2 / Math.sqrt(192),
    latent: {
      queryRank: 1536,
      kvRank: 512,
      nopeDim: 128,
      ropeDim: 64,
      valueDim: 128,
      epsilon: 1e-6,
    },
    layers: Array.from({ length: 61 }, (_, i) => ({ rope: 0, window: null, isDense: i < 3 })),
    experts: {
      numExperts: 256,
      size: 2048,
      router: {
        scoring: 'sigmoid',
        topK: 8,
        normalize: true,
        gainScale: 2.5,
        numGroups: 8,
        topGroups: 4,
      },
      hasCorrection: true,
      hasBias: false,
      shared: { size: 2048, isGated: false },
      unit: { kind: 'silu' },
    },
  },
}
