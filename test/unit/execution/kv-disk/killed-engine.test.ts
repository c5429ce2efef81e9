/** A disk cache whose process was killed in the middle of writing: what is left is whole, or goes. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { compileChild } from '../../../support/compiled-child.ts'
import { chain, DiskTierStage, loadAll } from '../../../support/disk-tier-stage.ts'

const BLOCK_BYTES = 8 * 2 ** 20
const stage = new DiskTierStage()
let child: string
beforeAll(async () => {
  child = await compileChild('kv-writer-child')
}, 60_000)
afterAll(() => stage.remove())

it('kill -9 leaves whole files, which are found, and torn ones, which are removed', async () => {
  let numParts = 0
  for (let kill = 0; kill < 12; kill++) {
    const engine = spawn(process.execPath, [child, stage.folder, String(BLOCK_BYTES)])
    await once(engine.stdout, 'data')
    await new Promise((resolve) => setTimeout(resolve, 20 + 7 * kill))
    engine.kill('SIGKILL')
    await once(engine, 'close')
    numParts += stage.files().filter(({ path }) => path.endsWith('.part')).length
    const tier = await stage.open({ blockBytes: BLOCK_BYTES, limitBytes: 2 ** 33 })
    const names = stage.files().map(({ path }) => path)
    expect(names.filter((path) => path.endsWith('.part'))).toEqual([])
    let numFound = 0
    for (let text = 0; numFound < names.length; text++) {
      const keys = chain(tier, 1, { text })
      if (!tier.has(keys[0]!)) continue
      expect(await loadAll(tier, keys, text)).toEqual([true])
      numFound += 1
    }
    expect(tier.stats.numBadFiles).toBe(0)
  }
  console.info(`killed 12 times, ${numParts} of them in the middle of a file`)
}, 60_000)
