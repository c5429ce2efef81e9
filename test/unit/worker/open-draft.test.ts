import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { OpenedCheckpoint } from '../../../src/checkpoint/checkpoint.ts'
import { openCheckpoint } from '../../../src/checkpoint/open-checkpoint.ts'
import { planDraftOpening } from '../../../src/worker/open-draft.ts'
import { ENGINE_OPTIONS } from '../../support/supervised.ts'
import { writeTinyLlamaFolder } from '../../support/tiny-llama-folder.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ingot-open-draft-'))
  await writeTinyLlamaFolder(folder)
})
afterEach(() => rm(folder, { recursive: true, force: true }))

it('divides the KV memory between a model and its draft model', async () => {
  const target = await openCheckpoint(folder)
  const options = { ...ENGINE_OPTIONS, kvMemoryBytes: 1000, draft: { checkpointPath: folder } }
  expect((await planDraftOpening(target, options))?.kvMemoryBytes).toBe(500)
  expect(await planDraftOpening(target, ENGINE_OPTIONS)).toBe(null)
})

it('refuses exported graphs, which take no guesses', async () => {
  const target = { kind: 'onnx' } as OpenedCheckpoint
  const options = { ...ENGINE_OPTIONS, draft: { checkpointPath: folder } }
  await expect(planDraftOpening(target, options)).rejects.toMatchObject({
    code: 'WORKER_DRAFT_EXPORTED',
    details: { which: 'the model' },
  })
})
