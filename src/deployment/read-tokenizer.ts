/**
 * The tokenizer that belongs to a checkpoint: out of a GGUF file's metadata (or none, when it has none of its keys), or
 * from the files of a Hugging Face folder.
 *
 *   tokenizer.json                 the tokenizer; without it
 *   tokenizer.model                SentencePiece's own file; without both a folder has no tokenizer
 *   tokenizer_config.json          special tokens and chat templates
 *   special_tokens_map.json        special tokens where the former is silent
 *   chat_template.jinja            the default template, before the one of tokenizer_config.json, as in transformers
 *   additional_chat_templates/     NAME.jinja each
 *
 * Reads those files, bounded. Owns nothing.
 */

import { readdir, readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { ModelConfig } from '../../models/model-config.ts'
import type { OpenedCheckpoint } from '../checkpoint/checkpoint.ts'
import { describeGgufTokenizer, hasGgufTokenizer } from '../text/gguf-tokenizer.ts'
import { describeHfTokenizer } from '../text/hf-tokenizer.ts'
import { describeSentencePieceModel } from '../text/sentencepiece-tokenizer.ts'
import type { TokenizerDescription } from '../text/tokenizer-description.ts'
import { deploymentError } from './errors.ts'

/** The largest in use have 35 MB. */
const MAX_TOKENIZER_BYTES = 128 * 1024 * 1024
/** Vocabularies of added tokens make some of 5 MB. */
const MAX_CONFIG_BYTES = 32 * 1024 * 1024
const MAX_TEMPLATE_BYTES = 1024 * 1024
const MAX_TEMPLATES = 64

/** @throws ServingError of the text room; DEPLOYMENT_BAD_TOKENIZER_FILE */
export async function readTokenizer(
  checkpoint: OpenedCheckpoint,
  { eosTokenIds }: Pick<ModelConfig, 'eosTokenIds'>,
): Promise<TokenizerDescription | null> {
  if (checkpoint.kind === 'gguf') {
    const { metadata } = checkpoint
    return hasGgufTokenizer(metadata) ? describeGgufTokenizer(metadata) : null
  }
  const folder = dirname(checkpoint.files[0] ?? '')
  const description = await readFolder(folder, eosTokenIds)
  if (description === null) return null
  const chatTemplates = new Map([...description.chatTemplates, ...(await readTemplates(folder))])
  return { ...description, chatTemplates }
}

async function readFolder(
  folder: string,
  endTokenIds: readonly number[],
): Promise<TokenizerDescription | null> {
  const text = (name: string, limitBytes: number) => readText(join(folder, name), limitBytes)
  const tokenizerJson = await text('tokenizer.json', MAX_TOKENIZER_BYTES)
  const modelFile = join(folder, 'tokenizer.model')
  const model =
    tokenizerJson === undefined ? await readBytes(modelFile, MAX_TOKENIZER_BYTES) : undefined
  if (tokenizerJson === undefined && model === undefined) return null
  const tokenizerConfig = await text('tokenizer_config.json', MAX_CONFIG_BYTES)
  const specialTokensMap = await text('special_tokens_map.json', MAX_CONFIG_BYTES)
  const beside = {
    ...(tokenizerConfig === undefined ? {} : { tokenizerConfig }),
    ...(specialTokensMap === undefined ? {} : { specialTokensMap }),
    endTokenIds,
  }
  return tokenizerJson === undefined
    ? describeSentencePieceModel({ model: model as Buffer, folder, ...beside })
    : describeHfTokenizer({ tokenizerJson, ...beside })
}

/** By name. */
async function readTemplates(folder: string): Promise<ReadonlyMap<string, string>> {
  const templates = new Map<string, string>()
  const add = async (name: string, file: string) => {
    const template = await readText(file, MAX_TEMPLATE_BYTES)
    if (template !== undefined) templates.set(name, template)
  }
  await add('default', join(folder, 'chat_template.jinja'))
  const further = join(folder, 'additional_chat_templates')
  // Absent in most folders, and no folder is no templates.
  const names = await readdir(further).catch(() => [])
  const files = names.filter((name) => name.endsWith('.jinja')).sort()
  if (files.length > MAX_TEMPLATES) {
    const details = {
      file: further,
      expected: `at most ${MAX_TEMPLATES} templates`,
      got: String(files.length),
    }
    throw deploymentError('DEPLOYMENT_BAD_TOKENIZER_FILE', { details })
  }
  for (const name of files) await add(name.slice(0, -'.jinja'.length), join(further, name))
  return templates
}

/** `undefined` when there is no such file. */
async function readText(file: string, limitBytes: number): Promise<string | undefined> {
  return (await readBytes(file, limitBytes))?.toString('utf8')
}

async function readBytes(file: string, limitBytes: number): Promise<Buffer | undefined> {
  const expected = `a file of at most ${limitBytes} bytes`
  try {
    const stats = await stat(file)
    const got = stats.isFile() ? `${stats.size} bytes` : 'no regular file'
    if (stats.isFile() && stats.size <= limitBytes) return await readFile(file)
    throw deploymentError('DEPLOYMENT_BAD_TOKENIZER_FILE', { details: { file, expected, got } })
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT') return undefined
    if (code === 'DEPLOYMENT_BAD_TOKENIZER_FILE') throw cause
    const details = { file, expected, got: code ?? message }
    throw deploymentError('DEPLOYMENT_BAD_TOKENIZER_FILE', { details, cause })
  }
}
