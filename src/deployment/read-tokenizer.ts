/**
 * The tokenizer that belongs to a checkpoint: out of a GGUF file's metadata, or from the files of a Hugging Face folder.
 *
 *   tokenizer.json          the tokenizer; without it a folder has none
 *   tokenizer_config.json   special tokens and chat templates
 *   chat_template.jinja     the default template, before the one of tokenizer_config.json, as in transformers
 *
 * Reads those three files, bounded. Owns nothing.
 */

import { readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { ModelConfig } from '../../models/model-config.ts'
import type { OpenedCheckpoint } from '../checkpoint/checkpoint.ts'
import { describeGgufTokenizer } from '../text/gguf-tokenizer.ts'
import { describeHfTokenizer } from '../text/hf-tokenizer.ts'
import type { TokenizerDescription } from '../text/tokenizer-description.ts'
import { deploymentError } from './errors.ts'

/** The largest in use have 35 MB. */
const MAX_TOKENIZER_BYTES = 128 * 1024 * 1024
/** Vocabularies of added tokens make some of 5 MB. */
const MAX_CONFIG_BYTES = 32 * 1024 * 1024
const MAX_TEMPLATE_BYTES = 1024 * 1024

/** @throws ServingError of the text room; DEPLOYMENT_BAD_TOKENIZER_FILE */
export async function readTokenizer(
  checkpoint: OpenedCheckpoint,
  { eosTokenIds }: Pick<ModelConfig, 'eosTokenIds'>,
): Promise<TokenizerDescription | null> {
  if (checkpoint.kind === 'gguf') return describeGgufTokenizer(checkpoint.metadata)
  const folder = dirname(checkpoint.files[0] ?? '')
  const tokenizerJson = await readText(join(folder, 'tokenizer.json'), MAX_TOKENIZER_BYTES)
  if (tokenizerJson === undefined) return null
  const tokenizerConfig = await readText(join(folder, 'tokenizer_config.json'), MAX_CONFIG_BYTES)
  const description = describeHfTokenizer({
    tokenizerJson,
    ...(tokenizerConfig === undefined ? {} : { tokenizerConfig }),
    endTokenIds: eosTokenIds,
  })
  const template = await readText(join(folder, 'chat_template.jinja'), MAX_TEMPLATE_BYTES)
  if (template === undefined) return description
  const chatTemplates = new Map(description.chatTemplates).set('default', template)
  return { ...description, chatTemplates }
}

/** `undefined` when there is no such file. */
async function readText(file: string, limitBytes: number): Promise<string | undefined> {
  const expected = `a text of at most ${limitBytes} bytes`
  try {
    const stats = await stat(file)
    const got = stats.isFile() ? `${stats.size} bytes` : 'no regular file'
    if (stats.isFile() && stats.size <= limitBytes) return await readFile(file, 'utf8')
    throw deploymentError('DEPLOYMENT_BAD_TOKENIZER_FILE', { details: { file, expected, got } })
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT') return undefined
    if (code === 'DEPLOYMENT_BAD_TOKENIZER_FILE') throw cause
    const details = { file, expected, got: code ?? message }
    throw deploymentError('DEPLOYMENT_BAD_TOKENIZER_FILE', { details, cause })
  }
}
