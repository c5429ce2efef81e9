import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { digestFile } from '../../../src/checkpoint/digest.ts'
import { caught } from '../../support/caught.ts'

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ingot-digest-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('digestFile', () => {
  it('is the SHA-256 of the whole file and reports progress up to its size', async () => {
    const bytes = Buffer.alloc(2_500_000, 'abc')
    const file = join(folder, 'weights')
    await writeFile(file, bytes)
    const steps: number[] = []
    const digest = await digestFile(file, { onProgress: (done) => steps.push(done) })
    expect(digest).toBe(createHash('sha256').update(bytes).digest('hex'))
    expect(steps).toEqual([1_048_576, 2_097_152, 2_500_000])
  })

  it('stops with the reason of its signal', async () => {
    const file = join(folder, 'weights')
    const controller = new AbortController()
    const reason = new Error('enough')
    const onProgress = () => controller.abort(reason)
    await expect(digestFile(file, { signal: controller.signal, onProgress })).rejects.toBe(reason)
  })

  it('names a file that is not there and one that cannot be read', async () => {
    expect((await caught(digestFile(join(folder, 'none')))).code).toBe('CHECKPOINT_NOT_FOUND')
    const error = await caught(digestFile(folder))
    expect(error.code).toBe('CHECKPOINT_UNREADABLE')
    expect(error.message).toContain('EISDIR')
  })
})
