import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Checkpoint } from '../../../src/checkpoint/checkpoint.ts'
import { readTokenizer } from '../../../src/deployment/read-tokenizer.ts'
import { caught } from '../../support/caught.ts'
import { encodeSentencePiece } from '../../support/sentencepiece-writer.ts'
import { tinyLlamaFolder } from '../../support/tiny-llama-folder.ts'

const TOKENIZER = JSON.stringify({
  added_tokens: [{ id: 3, content: '</s>', special: true }],
  model: { type: 'BPE', vocab: { a: 0 } },
})

let folder: string
let checkpoint: Checkpoint

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ingot-tokenizer-'))
  checkpoint = { ...tinyLlamaFolder(), files: [join(folder, 'config.json')] }
})
afterEach(() => rm(folder, { recursive: true }))

function read() {
  return readTokenizer(checkpoint, { eosTokenIds: [2] })
}

function write(name: string, text: string): Promise<void> {
  return writeFile(join(folder, name), text)
}

describe('the tokenizer of a folder', () => {
  it('is none without tokenizer.json', async () => {
    await write('tokenizer_config.json', '{}')
    expect(await read()).toBeNull()
  })

  it('is tokenizer.json, with the end tokens of the configuration', async () => {
    await write('tokenizer.json', TOKENIZER)
    const description = await read()
    expect(description).toMatchObject({
      model: { kind: 'huggingFace', json: TOKENIZER },
      endTokenIds: [2, 3],
    })
    expect(description?.chatTemplates.size).toBe(0)
  })

  it('has the special tokens and templates of tokenizer_config.json', async () => {
    await write('tokenizer.json', TOKENIZER)
    const named = [
      { name: 'default', template: 'A' },
      { name: 'tool_use', template: 'B' },
    ]
    await write(
      'tokenizer_config.json',
      JSON.stringify({ eos_token: '</s>', chat_template: named }),
    )
    const description = await read()
    expect(description?.eosTokenId).toBe(3)
    expect([...(description?.chatTemplates ?? [])]).toEqual([
      ['default', 'A'],
      ['tool_use', 'B'],
    ])
    await write('chat_template.jinja', 'C')
    expect([...((await read())?.chatTemplates ?? [])]).toEqual([
      ['default', 'C'],
      ['tool_use', 'B'],
    ])
  })

  it('is refused by file when it is huge, no file or no JSON', async () => {
    await write('tokenizer.json', '')
    await truncate(join(folder, 'tokenizer.json'), 2 ** 40)
    const huge = await caught(read())
    expect(huge.code).toBe('DEPLOYMENT_BAD_TOKENIZER_FILE')
    expect(huge.details).toMatchObject({
      file: join(folder, 'tokenizer.json'),
      got: `${2 ** 40} bytes`,
    })
    await write('tokenizer.json', '{')
    expect((await caught(read())).code).toBe('TEXT_BAD_TOKENIZER')
    await write('tokenizer.json', TOKENIZER)
    await mkdir(join(folder, 'chat_template.jinja'))
    expect((await caught(read())).details.got).toBe('no regular file')
  })

  it('has the templates of files beside it, the default one before that of the configuration', async () => {
    await write('tokenizer.json', TOKENIZER)
    await write('tokenizer_config.json', JSON.stringify({ chat_template: 'old' }))
    await write('chat_template.jinja', 'new')
    await mkdir(join(folder, 'additional_chat_templates'))
    await write('additional_chat_templates/tool_use.jinja', 'tools')
    await write('additional_chat_templates/notes.txt', 'none')
    expect((await read())?.chatTemplates).toEqual(
      new Map([
        ['default', 'new'],
        ['tool_use', 'tools'],
      ]),
    )
  })

  it('has the special tokens of special_tokens_map.json where the configuration is silent', async () => {
    await write('tokenizer.json', TOKENIZER)
    await write('special_tokens_map.json', JSON.stringify({ eos_token: { content: '</s>' } }))
    expect(await read()).toMatchObject({ eosTokenId: 3, specialTokens: { eos_token: '</s>' } })
  })

  it('is made of tokenizer.model where that is all there is', async () => {
    await writeFile(join(folder, 'tokenizer.model'), encodeSentencePiece({}))
    expect(await read()).toMatchObject({ preTokenizer: 'tokenizer.model', eosTokenId: 2 })
  })
})
