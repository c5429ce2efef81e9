/**
 * Finds what each input and output of a decoder's graph means, and refuses a graph whose inputs are not all understood:
 * one that is fed a guess gives wrong answers without a word.
 *
 * Knows names and shapes, not the graph's inside. Source of the conventions: Optimum's `TextDecoderOnnxConfig`,
 * transformers.js, onnxruntime-genai's model builder.
 */

import { exportError } from '../errors.ts'
import type { DecoderNames } from './decoder-names.ts'
import type { ExportedDecoder, IndexInput, KvNames } from './exported-decoder.ts'
import type { OnnxGraph } from './graph-file.ts'
import type { OnnxValue } from './graph-parts.ts'

export interface DecoderSignature
  extends Pick<
    ExportedDecoder,
    'inputs' | 'outputs' | 'kvType' | 'logitsType' | 'hasLastLogitsOnly' | 'fixedTokens'
  > {
  readonly numLayers: number
  /** `null` where the graph leaves it open. */
  readonly numKvHeads: number | null
  readonly headDim: number | null
  readonly vocabSize: number | null
}

const MAX_LAYERS = 4096

/** @throws ServingError CHECKPOINT_UNSUPPORTED_EXPORT */
export function readSignature(
  file: string,
  graph: OnnxGraph,
  names: DecoderNames,
): DecoderSignature {
  return new SignatureReader(file, graph, names).read()
}

class SignatureReader {
  readonly #file: string
  readonly #names: DecoderNames
  readonly #inputs: Map<string, OnnxValue>
  readonly #outputs: Map<string, OnnxValue>

  constructor(file: string, graph: OnnxGraph, names: DecoderNames) {
    this.#file = file
    this.#names = names
    this.#inputs = new Map(graph.inputs.map((value) => [value.name, value]))
    this.#outputs = new Map(graph.outputs.map((value) => [value.name, value]))
  }

  read(): DecoderSignature {
    const names = this.#names
    const tokenIds = this.#index(names.tokenIds, 2)
    if (tokenIds === null) throw this.#noTokens()
    const attentionMask = this.#index(names.attentionMask, 2)
    const positionIds = this.#index(names.positionIds, 2)
    const numLogits = names.numLogits.map((name) => this.#index(name, null)).find(Boolean) ?? null
    const branch = this.#take(names.useCacheBranch)
    if (branch !== null) this.#check(branch, 'BOOL', 1)
    const past = this.#layers(this.#inputs, names.pastKey, names.pastValue)
    const present = this.#layers(this.#outputs, names.presentKey, names.presentValue)
    this.#refuseRest(tokenIds, [attentionMask, positionIds, numLogits])
    if (past.length === 0) throw this.#noCache()
    if (present.length !== past.length) {
      const expected = `${past.length} layers of ${names.presentKey}, as many as of the past`
      throw this.#refuse('the outputs', expected, `${present.length}`)
    }
    const kv = this.#kvShape(past, present)
    const logits = this.#logits()
    return {
      inputs: {
        tokenIds,
        attentionMask,
        positionIds,
        numLogits,
        useCacheBranch: branch?.name ?? null,
        past,
      },
      outputs: { logits: names.logits, present },
      ...kv,
      ...logits,
      fixedTokens: fixed(this.#shapeOf(tokenIds.name)[1]),
      numLayers: past.length,
    }
  }

  #take(name: string): OnnxValue | null {
    return this.#inputs.get(name) ?? null
  }

  #shapeOf(name: string): OnnxValue['shape'] {
    return this.#inputs.get(name)?.shape ?? []
  }

  /** @param rank - `null` = a scalar or one number */
  #index(name: string, rank: number | null): IndexInput | null {
    const value = this.#take(name)
    if (value === null) return null
    if (value.type !== 'I64' && value.type !== 'I32') {
      throw this.#refuse(`input ${name}`, 'whole numbers of 32 or 64 bits', value.type)
    }
    const isRank = rank === null ? value.shape.length <= 1 : value.shape.length === rank
    if (!isRank)
      throw this.#refuse(`input ${name}`, `${rank ?? 'no or one'} dimensions`, shapeText(value))
    if (rank === 2) this.#oneSequence(value)
    return { name, type: value.type, rank: value.shape.length }
  }

  /** A graph for batches of another fixed size cannot run one sequence. */
  #oneSequence(value: OnnxValue): void {
    const batch = value.shape[0]
    if (typeof batch !== 'number' || batch === 1) return
    throw this.#refuse(`${value.name}`, 'one sequence or any number of them', shapeText(value))
  }

  #check(value: OnnxValue, type: string, rank: number): void {
    if (value.type === type && value.shape.length === rank) return
    const expected = `${type} with ${rank} dimensions`
    throw this.#refuse(value.name, expected, `${value.type} ${shapeText(value)}`)
  }

  /** Layers 0, 1, 2 … of one direction; both names of each must be there. */
  #layers(values: ReadonlyMap<string, OnnxValue>, key: string, value: string): KvNames[] {
    const layers: KvNames[] = []
    for (let layer = 0; layer < MAX_LAYERS; layer++) {
      const names = { key: key.replace('%d', `${layer}`), value: value.replace('%d', `${layer}`) }
      if (!values.has(names.key) && !values.has(names.value)) return layers
      for (const name of [names.key, names.value]) {
        if (!values.has(name)) throw this.#refuse('the cache', `${name}`, 'no such name')
      }
      layers.push(names)
    }
    throw this.#refuse('the cache', `at most ${MAX_LAYERS} layers`, 'more')
  }

  #kvShape(past: readonly KvNames[], present: readonly KvNames[]) {
    let numKvHeads: number | null = null
    let headDim: number | null = null
    let type: string | null = null
    const all = [
      ...past.flatMap(({ key, value }) => [this.#inputs.get(key), this.#inputs.get(value)]),
      ...present.flatMap(({ key, value }) => [this.#outputs.get(key), this.#outputs.get(value)]),
    ]
    for (const value of all) {
      if (value === undefined) continue
      type ??= value.type
      this.#check(value, type, 4)
      this.#oneSequence(value)
      numKvHeads = this.#agree(value, numKvHeads, value.shape[1], 'heads')
      headDim = this.#agree(value, headDim, value.shape[3], 'numbers a head')
    }
    if (type !== 'F32' && type !== 'F16') {
      throw this.#refuse('the cache', 'F32 or F16', type ?? 'nothing')
    }
    return { kvType: type, numKvHeads, headDim } as const
  }

  #agree(
    value: OnnxValue,
    known: number | null,
    extent: number | string | null | undefined,
    what: string,
  ): number | null {
    if (typeof extent !== 'number') return known
    if (known !== null && known !== extent) {
      const expected = `${known} ${what}, as in the layers before`
      throw this.#refuse(value.name, expected, shapeText(value))
    }
    if (extent < 1 || extent > 65_536) {
      throw this.#refuse(value.name, `1 to 65536 ${what}`, shapeText(value))
    }
    return extent
  }

  #logits() {
    const { logits: name } = this.#names
    const value = this.#outputs.get(name)
    if (value === undefined) {
      throw this.#refuse('the outputs', name, [...this.#outputs.keys()].slice(0, 8).join(', '))
    }
    if (value.type !== 'F32' && value.type !== 'F16') {
      throw this.#refuse(name, 'F32 or F16', value.type)
    }
    this.#check(value, value.type, 3)
    this.#oneSequence(value)
    return {
      logitsType: value.type,
      hasLastLogitsOnly: fixed(value.shape[1]) === 1,
      vocabSize: fixed(value.shape[2]),
    } as const
  }

  #refuseRest(tokenIds: IndexInput, others: readonly (IndexInput | null)[]): void {
    const { pastKey, pastValue, useCacheBranch } = this.#names
    const known = new Set([useCacheBranch, tokenIds.name, ...others.map((input) => input?.name)])
    for (const name of this.#inputs.keys()) {
      if (known.has(name) || isLayerOf(name, pastKey) || isLayerOf(name, pastValue)) continue
      const expected =
        'input_ids, attention_mask, position_ids, use_cache_branch and past keys and values'
      throw this.#refuse('the inputs', expected, `also ${JSON.stringify(name.slice(0, 200))}`)
    }
  }

  #noTokens(): Error {
    const got = [...this.#inputs.keys()].slice(0, 8).join(', ') || 'no inputs'
    return this.#refuse('the inputs', `${this.#names.tokenIds}, a text decoder`, got)
  }

  #noCache(): Error {
    return exportError({
      file: this.#file,
      field: 'the inputs',
      expected: `${this.#names.pastKey.replace('%d', '0')}, a decoder with its past`,
      got: 'a graph without a past',
      next: 'export it with its past (Optimum: --task text-generation-with-past)',
    })
  }

  #refuse(field: string, expected: string, got: string): Error {
    const next = 'export the model anew as a text decoder with past, or give its safetensors folder'
    return exportError({ file: this.#file, field, expected, got, next })
  }
}

function fixed(extent: number | string | null | undefined): number | null {
  return typeof extent === 'number' && extent > 0 ? extent : null
}

function isLayerOf(name: string, pattern: string): boolean {
  const [before = '', after = ''] = pattern.split('%d')
  const middle = name.slice(before.length, name.length - after.length)
  return name.startsWith(before) && name.endsWith(after) && /^\d+$/.test(middle)
}

function shapeText({ shape }: OnnxValue): string {
  return `[${shape.map((extent) => extent ?? '?').join(', ')}]`.slice(0, 200)
}
