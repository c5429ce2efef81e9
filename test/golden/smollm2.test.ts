/**
 * SmolLM2-135M-Instruct Q4_1. Skipped where ../shared/golden is absent; it is data of the reference, not of this
 * repository.
 */

import { it } from 'vitest'
import { readGolden } from '../support/golden.ts'
import { describeGolden } from '../support/golden-suite.ts'
import { modelPath } from '../support/model-path.ts'

const golden = readGolden('smollm2-135m-q4_1.json')

if (golden === undefined) {
  it.skip('SmolLM2 against its reference (../shared/golden is absent)')
} else {
  const checkpointPath = await modelPath()
  describeGolden({ model: 'SmolLM2', golden, checkpointPath, eosTokenIds: [2] })
}
