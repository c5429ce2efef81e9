import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openCheckpoint } from '../../../src/checkpoint/open-checkpoint.ts'
import { readModelFacts } from '../../../src/deployment/model-facts.ts'
import { strings, writeGguf } from '../../support/gguf-writer.ts'
import { TINY_LLAMA, tinyLlamaGguf } from '../../support/tiny-llama-gguf.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ingot-facts-'))
})
afterAll(() => rm(folder, { recursive: true }))

it('what is kept of a checkpoint does not hold its vocabulary twice', async () => {
  const path = join(folder, 'model.gguf')
  const spec = tinyLlamaGguf(TINY_LLAMA, 1)
  const tokens = Array.from({ length: TINY_LLAMA.vocabSize }, (_, id) => `token ${id}`)
  await writeGguf(path, {
    ...spec,
    metadata: [
      ...(spec.metadata ?? []).filter(([key]) => !key.startsWith('tokenizer.')),
      ['tokenizer.ggml.model', { type: 'string', value: 'llama' }],
      ['tokenizer.ggml.tokens', strings(tokens)],
    ],
  })
  const whole = await openCheckpoint(path)
  const { checkpoint, tokenizer } = await readModelFacts(path)
  expect(whole.metadata.get('tokenizer.ggml.tokens')).toEqual(tokens)
  expect(tokenizer?.model).toMatchObject({ kind: 'sentencePiece', pieces: { tokens } })
  const kept = [...whole.metadata].filter(([key]) => !key.startsWith('tokenizer.'))
  expect({ ...checkpoint, metadata: [...checkpoint.metadata] }).toEqual({
    ...whole,
    metadata: kept,
  })
})
