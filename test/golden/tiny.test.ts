/**
 * Every logit of the tiny checkpoints against transformers in f32, through the real engine and executor: prompts cut
 * into chunks of several sizes, and beside other sequences. Prints the largest difference, because it is the record.
 *
 * Skipped where ../shared/golden is absent.
 */

import { describe, expect, it } from 'vitest'
import type { Executor } from '../../src/engine/executor.ts'
import { PLAIN_SCHEDULING } from '../../src/engine/scheduling-options.ts'
import type { LoadedEngine } from '../../src/worker/load-engine.ts'
import type { EngineOptions, SequenceSpec } from '../../src/worker/messages.ts'
import { makeSpec } from '../support/engine-builders.ts'
import { runSequences, withEngine } from '../support/run-engine.ts'
import { type ExpectedValues, readExpected, tinyGoldens } from '../support/tiny-golden.ts'

const ABSOLUTE = 1e-3
const RELATIVE = 1e-4
const CHUNKS = [1, 5, 16, 64]
const NUM_OTHERS = 5
const NUM_GREEDY_PROMPT = 9

const goldens = tinyGoldens()

function engineOptions(checkpointPath: string, maxNumBatchedTokens: number): EngineOptions {
  return {
    checkpointPath,
    threads: 2,
    activations: 'f32',
    kvDtype: 'f32',
    kvMemoryBytes: 16 * 2 ** 20,
    blockSize: 16,
    maxNumBatchedTokens,
    maxNumSeqs: Math.min(8, maxNumBatchedTokens),
    maxContextTokens: 512,
    eosTokenIds: [],
    scheduling: PLAIN_SCHEDULING,
  }
}

class Comparison {
  /** Positions of `inputIds` whose logits were seen. */
  readonly positions = new Set<number>()
  largest = 0
  numWrong = 0
  readonly #expected: ExpectedValues
  readonly #executor: Executor & { readonly logits: Float32Array }

  constructor(expected: ExpectedValues, { executor }: LoadedEngine) {
    this.#expected = expected
    this.#executor = executor
    const execute = executor.execute.bind(executor)
    executor.execute = async (numTokens, numSeqs, numLogitsRows) => {
      await execute(numTokens, numSeqs, numLogitsRows)
      for (let row = 0; row < numLogitsRows; row++) this.#compare(row, numSeqs)
    }
  }

  #compare(row: number, numSeqs: number): void {
    const { logitsRows, positions, queryStarts, tokenIds } = this.#executor.arrays
    const { inputIds, logits, vocabSize } = this.#expected
    const tokenRow = logitsRows[row]!
    let seq = 0
    while (seq + 1 < numSeqs && queryStarts[seq + 1]! <= tokenRow) seq += 1
    // Others have another token at every position, and are as long.
    for (let t = queryStarts[seq]!; t <= tokenRow; t++) {
      if (tokenIds[t] !== inputIds[positions[t]!]) return
    }
    const position = positions[tokenRow]!
    this.positions.add(position)
    for (let id = 0; id < vocabSize; id++) {
      const reference = logits[position * vocabSize + id]!
      const difference = Math.abs(this.#executor.logits[row * vocabSize + id]! - reference)
      const isClose = difference <= ABSOLUTE || difference <= RELATIVE * Math.abs(reference)
      if (!isClose) this.numWrong += 1
      // Not `Math.max`, which a NaN would pass through `isClose` only to be lost here.
      if (!(difference <= this.largest)) this.largest = difference
    }
  }
}

/** The reference's sequence, its logits wanted at every position. */
function goldenSpec({ inputIds }: ExpectedValues): SequenceSpec {
  return makeSpec(1, { promptIds: inputIds, maxTokens: 1, promptLogprobs: 0 })
}

/** Sequences as long that share no token with it at any position; they keep generating beside it. */
function otherSpecs({ inputIds, vocabSize }: ExpectedValues): SequenceSpec[] {
  return Array.from({ length: NUM_OTHERS }, (_, index) => {
    const promptIds = inputIds.map((id) => (id + 17 * (index + 1)) % vocabSize)
    return makeSpec(2 + index, { promptIds, maxTokens: 16, temperature: 0 })
  })
}

describe.skipIf(goldens.length === 0)('tiny checkpoints (of ../shared/golden/tiny)', () => {
  it.each(goldens)('$name: every logit, in chunks and in batches', async (golden) => {
    const expected = readExpected(golden)
    const numPositions = expected.inputIds.length
    let largest = 0
    for (const chunk of CHUNKS) {
      await withEngine(engineOptions(golden.checkpointPath, chunk), async (engine) => {
        for (const others of [[], otherSpecs(expected)]) {
          const comparison = new Comparison(expected, engine)
          await runSequences(engine, [...others, goldenSpec(expected)])
          const where = `chunks of ${chunk}, beside ${others.length}`
          expect(comparison.numWrong, `wrong logits, ${where}`).toBe(0)
          expect(comparison.positions.size, `positions, ${where}`).toBe(numPositions)
          largest = Math.max(largest, comparison.largest)
        }
      })
    }
    console.log(`${golden.name}: largest difference of a logit ${largest.toExponential(2)}`)
  })

  it.each(goldens)('$name: the greedy continuation', async (golden) => {
    const expected = readExpected(golden)
    const { greedyFrom9 } = expected
    const promptIds = greedyFrom9.slice(0, NUM_GREEDY_PROMPT)
    const maxTokens = greedyFrom9.length - NUM_GREEDY_PROMPT
    const spec = makeSpec(1, { promptIds, maxTokens, temperature: 0, ignoreEos: true })
    for (const chunk of CHUNKS) {
      await withEngine(engineOptions(golden.checkpointPath, chunk), async (engine) => {
        for (const others of [[], otherSpecs(expected)]) {
          const { answers } = await runSequences(engine, [...others, spec])
          expect(answers.get(spec.id)?.tokenIds).toEqual(greedyFrom9.slice(NUM_GREEDY_PROMPT))
        }
      })
    }
  })

  it.each(goldens)('$name: the same bits when its rows alone are wanted', async (golden) => {
    const { inputIds } = readExpected(golden)
    // Chunks of 5 without a wanted row, then some whose every row is wanted.
    await withEngine(engineOptions(golden.checkpointPath, 5), async (engine) => {
      const drawn: unknown[] = []
      for (const promptLogprobs of [null, 0]) {
        const draws = { maxTokens: 6, temperature: 0, topLogprobs: 5, ignoreEos: true }
        const spec = makeSpec(1, { promptIds: inputIds, promptLogprobs, ...draws })
        const { answers } = await runSequences(engine, [spec])
        drawn.push(answers.get(spec.id)?.logprobs)
      }
      expect(drawn[0]).toEqual(drawn[1])
    })
  })
})
