/**
 * Exported graphs against the paged executor: the same weights as a safetensors folder give the same logits, whatever the
 * export looks like and however a prompt is cut; graphs that cannot be served are refused before they serve.
 */

import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SequenceId } from '../../src/base/ids.ts'
import { openCheckpoint } from '../../src/checkpoint/open-checkpoint.ts'
import { PLAIN_SCHEDULING } from '../../src/engine/scheduling-options.ts'
import { GraphSession } from '../../src/execution/exported/graph-session.ts'
import { loadOrt } from '../../src/execution/exported/load-ort.ts'
import type { LoadedEngine } from '../../src/worker/load-engine.ts'
import type { EngineOptions } from '../../src/worker/messages.ts'
import { caught } from '../support/caught.ts'
import { makeSpec } from '../support/engine-builders.ts'
import { ADDON } from '../support/executor-cases.ts'
import { runSequences, withEngine } from '../support/run-engine.ts'
import { seededRandom } from '../support/seeded-random.ts'
import {
  DATA_FILE,
  type ExportedShape,
  exportTinyLlama,
  writeGenaiFolder,
  writeOptimumFolder,
} from '../support/tiny-exported.ts'
import { writeTinyLlamaFolder } from '../support/tiny-llama-folder.ts'

const VOCAB = 96
const NUM_PROMPT = 300
const NUM_ANSWER = 12
const random = seededRandom(11)
const PROMPT = Array.from({ length: NUM_PROMPT }, () => random.below(VOCAB))

let root: string
let reference: Float32Array[]

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'ingot-exported-'))
  if (!existsSync(ADDON)) return
  const paged = await writeTinyLlamaFolder(join(root, 'paged'))
  reference = await allLogits(engineOptions(paged))
})
afterAll(() => rm(root, { recursive: true }))

function engineOptions(checkpointPath: string, change: Partial<EngineOptions> = {}): EngineOptions {
  return {
    checkpointPath,
    threads: 2,
    activations: 'f32',
    kvDtype: 'f32',
    kvMemoryBytes: 16 * 2 ** 20,
    blockSize: 16,
    maxNumBatchedTokens: 64,
    maxNumSeqs: 4,
    maxContextTokens: 512,
    eosTokenIds: [],
    scheduling: PLAIN_SCHEDULING,
    ...change,
  }
}

/** Greedy, with logprobs of the prompt, so that every row's logits are made. */
function everyRow(id: number) {
  return makeSpec(id, {
    promptIds: PROMPT,
    maxTokens: NUM_ANSWER,
    temperature: 0,
    promptLogprobs: 1,
    topLogprobs: 1,
  })
}

/** Logits by position, as the executor gave them for one sequence. */
async function allLogits(options: EngineOptions): Promise<Float32Array[]> {
  return withEngine(options, async (engine) => {
    const seen = spyLogits(engine)
    await runSequences(engine, [everyRow(1)])
    return seen
  })
}

function spyLogits({ executor }: LoadedEngine): Float32Array[] {
  const seen: Float32Array[] = []
  const execute = executor.execute.bind(executor)
  executor.execute = async (numTokens, numSeqs, numLogitsRows) => {
    await execute(numTokens, numSeqs, numLogitsRows)
    for (let row = 0; row < numLogitsRows; row++) {
      const position = executor.arrays.positions[executor.arrays.logitsRows[row]!]!
      seen[position] = executor.logits.slice(row * VOCAB, (row + 1) * VOCAB)
    }
  }
  return seen
}

function largestDifference(logits: readonly Float32Array[]): number {
  expect(logits).toHaveLength(reference.length)
  let largest = 0
  for (const [position, row] of reference.entries()) {
    for (const [id, value] of row.entries()) {
      const difference = Math.abs(value - logits[position]![id]!)
      if (!(difference <= largest)) largest = difference
    }
  }
  return largest
}

const shapes: readonly [string, 'optimum' | 'genai', Partial<ExportedShape>, number][] = [
  ['Optimum', 'optimum', {}, 1e-4],
  [
    'Optimum, weights beside the graph, 32-bit indices',
    'optimum',
    { isExternal: true, indices: 'i32' },
    1e-4,
  ],
  ['Optimum, f16 cache and logits', 'optimum', { type: 'f16' }, 2e-2],
  ['Optimum, merged', 'optimum', { hasCacheBranch: true }, 1e-4],
  ['Optimum, mask only without a past', 'optimum', { masksOnlyWithoutPast: true }, 1e-4],
  ['Optimum, one token a run', 'optimum', { tokens: 1 }, 1e-4],
  ['Optimum, logits of the last row', 'optimum', { logits: 'last' }, 1e-4],
  ['genai, shared buffer', 'genai', {}, 1e-4],
  ['genai, logits as asked', 'genai', { logits: 'asked' }, 1e-4],
]

describe.skipIf(!existsSync(ADDON))(
  'exported (skipped when native/ingot.node is not built)',
  () => {
    const write = (layout: 'optimum' | 'genai', change: Partial<ExportedShape>, name: string) =>
      layout === 'genai'
        ? writeGenaiFolder(join(root, name), change)
        : writeOptimumFolder(join(root, name), change)

    it.each(shapes)(
      '%s: every logit is that of the paged executor',
      async (name, layout, change, most) => {
        const folder = await write(layout, change, `logits ${name}`)
        const largest = largestDifference(await allLogits(engineOptions(folder)))
        console.log(`${name}: largest difference of a logit ${largest.toExponential(2)}`)
        expect(largest).toBeLessThan(most)
      },
    )

    it.each(shapes)(
      '%s: a long prompt in any chunks, alone or not, is bit for bit the same',
      async (name, layout, change) => {
        const folder = await write(layout, change, `chunks ${name}`)
        const spec = makeSpec(1, {
          promptIds: PROMPT,
          maxTokens: 8,
          temperature: 0.8,
          topLogprobs: 3,
        })
        const others = [2, 3, 4].map((id) =>
          makeSpec(id, { promptIds: PROMPT.slice(id * 40), maxTokens: 20, temperature: 0.9 }),
        )
        const answers = []
        for (const maxNumBatchedTokens of [7, 128, 512]) {
          for (const beside of [[], others]) {
            const options = engineOptions(folder, { maxNumBatchedTokens })
            const run = await withEngine(options, (engine) =>
              runSequences(engine, [...beside, spec]),
            )
            answers.push(run.answers.get(spec.id))
          }
        }
        expect(answers[0]?.tokenIds).toHaveLength(8)
        for (const answer of answers) expect(answer).toStrictEqual(answers[0])
      },
    )

    it('fills its context to the last token', async () => {
      for (const layout of ['optimum', 'genai'] as const) {
        const folder = await write(layout, {}, `full ${layout}`)
        const promptIds = [...PROMPT, ...PROMPT].slice(0, 500)
        const spec = makeSpec(1, { promptIds, maxTokens: 100, temperature: 0 })
        const run = await withEngine(engineOptions(folder), (engine) =>
          runSequences(engine, [spec]),
        )
        expect(run.answers.get(1 as SequenceId)).toMatchObject({ finish: 'length' })
        expect(run.answers.get(1 as SequenceId)?.tokenIds).toHaveLength(12)
      }
    })

    it.each<[string, Partial<ExportedShape>, string, string]>([
      [
        'takes rows after a past for the first',
        { forgetsPositions: true },
        'EXECUTION_GRAPH_DISAGREES',
        'with a past as without',
      ],
      ['takes four tokens a run', { tokens: 4 }, 'EXECUTION_GRAPH_FIXED', 'one for 4'],
    ])('a graph that %s is refused before it serves', async (name, change, code, words) => {
      const folder = await write('optimum', change, `refused ${name}`)
      const error = await caught(withEngine(engineOptions(folder), async () => null))
      expect([error.code, error.retryable]).toEqual([code, false])
      expect(error.message).toContain(words)
      expect(error.message).toContain('model.onnx')
    })

    it('a graph with an operator that ONNX Runtime does not know is refused with its reason', async () => {
      const folder = await write('optimum', {}, 'unknown operator')
      const { graph } = exportTinyLlama()
      const changed = Buffer.from(
        graph.toString('latin1').replaceAll('Sigmoid', 'Sigmoix'),
        'latin1',
      )
      await writeFile(join(folder, 'onnx/model.onnx'), changed)
      const error = await caught(withEngine(engineOptions(folder), async () => null))
      expect([error.code, error.retryable]).toEqual(['EXECUTION_GRAPH_REFUSED', false])
      expect(error.message).toContain('Sigmoix')
    })

    it('weights that are no numbers are refused before they serve', async () => {
      const folder = await write('genai', {}, 'poisoned')
      const { data } = exportTinyLlama({ attention: 'grouped', isExternal: true })
      await writeFile(join(folder, DATA_FILE), Buffer.alloc(data.length, 0xff))
      const error = await caught(withEngine(engineOptions(folder), async () => null))
      expect(error.code).toBe('EXECUTION_GRAPH_DISAGREES')
      expect(error.message).toContain('NaN')
    })

    it('a run that fails ends with the reason of ONNX Runtime', async () => {
      const folder = await write('optimum', {}, 'failing')
      const checkpoint = await openCheckpoint(folder)
      if (checkpoint.kind !== 'onnx') throw new Error('no exported graph')
      const sizes = { threads: 1, maxContextTokens: 512, blockSize: 16, maxTokens: 8 }
      const session = await GraphSession.open(checkpoint.exported, sizes)
      const run = { tokenIds: Int32Array.of(VOCAB), start: 0, numLogits: 1, kv: session.makeKv() }
      const error = await caught(session.run(run, null))
      expect([error.code, error.retryable]).toEqual(['EXECUTION_GRAPH_FAILED', true])
      expect(error.message).toMatch(/Gather.*out of data bounds/)
      await session.close()
    })
  },
)

it('says what to do where onnxruntime-node cannot be loaded', async () => {
  const error = await caught(Promise.resolve().then(() => loadOrt('onnxruntime-nowhere')))
  expect(error.code).toBe('EXECUTION_ORT_NOT_LOADED')
  expect(error.message).toContain('npm ci')
})
