/**
 * Loads an engine in a process of its own and prints, as one line of JSON, how its weights are held, how long it took
 * and the most memory that was resident. Arguments: checkpoint, folder for packed weights, weights format.
 */

import { readFileSync } from 'node:fs'
import { SOURCE_WEIGHTS, type WeightFormat } from '../../src/base/weights-choice.ts'
import { PLAIN_SCHEDULING } from '../../src/engine/scheduling-options.ts'
import { loadEngine } from '../../src/worker/load-engine.ts'

const [checkpointPath = '', folder = '', format = 'source'] = process.argv.slice(2)
const engine = await loadEngine({
  checkpointPath,
  weights: { ...SOURCE_WEIGHTS, format: format as WeightFormat },
  packs: { folder, limitBytes: 2 ** 40, modelDigest: 'test' },
  threads: 2,
  activations: 'int8',
  kvDtype: 'bf16',
  kvMemoryBytes: 2 ** 28,
  blockSize: 32,
  maxNumBatchedTokens: 512,
  maxNumSeqs: 64,
  maxContextTokens: 2048,
  eosTokenIds: [],
  scheduling: PLAIN_SCHEDULING,
})
const { weightsHeldAs, weightsBytes, loadMs } = engine.description
const peakKibibytes = Number(
  /^VmHWM:\s*(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1],
)
const peakBytes = peakKibibytes * 1024
process.stdout.write(`${JSON.stringify({ weightsHeldAs, weightsBytes, loadMs, peakBytes })}\n`)
await engine.executor.close()
