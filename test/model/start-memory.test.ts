import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, it } from 'vitest'

const MODULE = join(import.meta.dirname, '../../dist/src/cli/start-memory.js')

/** Bytes of the young generation after objects that live for a while were made, in a process of its own. */
function youngBytes(setting: string): number {
  const script = `
    import { getHeapSpaceStatistics } from 'node:v8'
    import { collectEarly } from ${JSON.stringify(MODULE)}
    ${setting}
    const living = []
    for (let round = 0; round < 400_000; round += 1) living[round % 50_000] = { round, text: [round] }
    const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')
    process.stdout.write(String(young.space_size))`
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script])
  return Number(stdout)
}

it('the young generation stays small while a server starts, and may grow when it serves', () => {
  const [starting, serving] = [youngBytes('collectEarly()'), youngBytes('collectEarly()()')]
  const usual = youngBytes('')
  expect(starting).toBeGreaterThan(0)
  expect(starting).toBeLessThanOrEqual(usual / 4)
  expect(serving).toBe(usual)
})
