/**
 * `ingot bench quality MODEL`: what each choice of weights costs and saves, measured on a text. Loads the variants in this
 * process, at most two at a time; prints a table and one line of JSON, and writes a page with plots.
 */

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { cpus, totalmem } from 'node:os'
import { resolve } from 'node:path'
import { loadNative } from '../../native/loader.ts'
import { WEIGHT_FORMATS, type WeightFormat } from '../base/weights-choice.ts'
import { type LoadedConfig, loadConfig } from '../config/load-config.ts'
import { formatBytes } from '../config/option.ts'
import { type ModelFacts, readModelFacts } from '../deployment/model-facts.ts'
import { PLAIN_SCHEDULING } from '../engine/scheduling-options.ts'
import type { StoredModel } from '../store/model-store.ts'
import { createTokenizer } from '../text/tokenizer.ts'
import { loadEngine } from '../worker/load-engine.ts'
import { flagsOf } from './config-flags.ts'
import { cliError } from './errors.ts'
import { openModelAccess } from './model-access.ts'
import { packageFiles } from './package-files.ts'
import { Progress } from './progress.ts'
import { DEFAULT_TEXT } from './quality/default-text.ts'
import { measureVariants, type VariantEngine } from './quality/measure-variants.ts'
import { qualityPage } from './quality/quality-page.ts'
import { type QualityRecord, qualityTable } from './quality/quality-report.ts'
import { cutWindows } from './quality/windows.ts'
import { abortOnSignal } from './signals.ts'

/** From the most exact down; the first of the variants is what the others are compared with. */
const RANKS: readonly WeightFormat[] = ['f32', 'source', 'bf16', 'f16', 'int8', 'int4']
const PREFILL_TOKENS = 256
const DECODE_TOKENS = 32
const ROUNDS = 3

export async function benchQuality(
  written: string | undefined,
  parsed: Readonly<Record<string, unknown>>,
): Promise<void> {
  const configFile = parsed.config as string | undefined
  const loaded = loadConfig({ configFile, flags: flagsOf(parsed) })
  const variants = readVariants(String(parsed.variants))
  const mostTokens = readCount('--tokens', parsed.tokens, 2)
  const windowTokens = readCount('--window', parsed.window, 2)
  const text = readText(parsed.text as string | undefined)
  const access = await openModelAccess(loaded.config.store)
  const { signal, stopListening } = abortOnSignal()
  const progress = new Progress()
  try {
    const reference = access.reference(written ?? loaded.config.model.name)
    const model = await access.fetch(reference, { signal })
    const facts = await readModelFacts(model.path)
    const { tokens, bosTokenId } = await tokensOf(facts, text.text, mostTokens)
    const length = Math.min(windowTokens, facts.config.maxContextTokens)
    const windows = cutWindows(tokens, length, bosTokenId)
    const results = await measureVariants(variants, {
      windows,
      prefillTokens: Math.min(PREFILL_TOKENS, facts.config.maxContextTokens - DECODE_TOKENS),
      decodeTokens: DECODE_TOKENS,
      rounds: ROUNDS,
      signal,
      open: (variant) =>
        openVariant(variant as WeightFormat, {
          loaded,
          model,
          facts,
          length,
          isFirst: variant === variants[0],
        }),
      onProgress: (variant, fraction) => progress.fraction(variant, fraction),
    })
    progress.end()
    const { version, ortVersion } = packageFiles()
    const record: QualityRecord = {
      kind: 'ingot-quality',
      version,
      ortVersion,
      kernels: loadNative().capabilities().kernels,
      date: new Date().toISOString(),
      machine: machine(),
      threads: loaded.config.engine.threads,
      model: reference.entry?.id ?? facts.name ?? model.source,
      digest: model.digest,
      checkpointBytes: model.sizeBytes,
      stored: facts.quantization,
      text: text.name,
      textDigest: createHash('sha256').update(text.text).digest('hex'),
      predictedTokens: tokens.length - windows.length,
      inputTokens: tokens.length,
      contextTokens: length,
      batch: 1,
      cacheState: 'empty at every window',
      prefillTokens: PREFILL_TOKENS,
      decodeTokens: DECODE_TOKENS,
      rounds: ROUNDS,
      reference: `${results[0]?.variant} (${results[0]?.computesIn})`,
      variants: results,
    }
    const page = resolve(String(parsed.html))
    await writeFile(page, qualityPage(record))
    if (parsed.json !== true) process.stdout.write(`${qualityTable(record)}\n  page: ${page}\n\n`)
    process.stdout.write(`${JSON.stringify(record)}\n`)
  } finally {
    progress.end()
    stopListening()
    await access.store.close()
  }
}

interface Opening {
  readonly loaded: LoadedConfig
  readonly model: StoredModel
  readonly facts: ModelFacts
  readonly length: number
  readonly isFirst: boolean
}

/** The reference computes in f32 throughout; the others as they would be served. */
async function openVariant(
  format: WeightFormat,
  { loaded, model, facts, length, isFirst }: Opening,
): Promise<VariantEngine> {
  const {
    engine,
    store,
    model: { weights },
  } = loaded.config
  const activations = isFirst ? 'f32' : engine.activations
  const kvDtype = isFirst ? 'f32' : engine.kvDtype
  const contextTokens = Math.min(
    Math.max(length, PREFILL_TOKENS + DECODE_TOKENS),
    facts.config.maxContextTokens,
  )
  const { executor, description } = await loadEngine({
    checkpointPath: model.path,
    weights: { ...weights, format },
    packs: { ...store.packs, modelDigest: model.digest },
    threads: engine.threads,
    activations,
    kvDtype,
    kvMemoryBytes: facts.kvBytesPerToken(kvDtype) * (contextTokens + 2 * engine.blockSize),
    blockSize: engine.blockSize,
    maxNumBatchedTokens: engine.maxNumBatchedTokens,
    maxNumSeqs: 1,
    maxContextTokens: contextTokens,
    eosTokenIds: [],
    scheduling: PLAIN_SCHEDULING,
  })
  const isFloat = format === 'f32' || format === 'f16'
  const ofBrain = activations === 'f32' ? 'f32' : 'bf16'
  const products = isFloat ? 'f32' : format === 'bf16' ? ofBrain : activations
  return {
    executor,
    weightsBytes: description.weightsBytes,
    kvBytesPerToken: description.kvBytesPerToken,
    computesIn: `${products}, ${kvDtype} KV`,
    close: () => executor.close(),
  }
}

/** The first `most` tokens, and the token that the model's texts begin with. */
async function tokensOf(
  facts: ModelFacts,
  text: string,
  most: number,
): Promise<{ tokens: Int32Array; bosTokenId: number | null }> {
  if (facts.tokenizer === null) {
    throw cliError('CLI_BAD_ARGUMENT', {
      param: 'model',
      details: {
        expected: 'a model with a tokenizer, because a text is measured',
        got: facts.path,
        next: 'put its tokenizer.json beside it',
      },
    })
  }
  const tokenizer = createTokenizer(facts.tokenizer, loadNative(), { maxTextBytes: 2 ** 26 })
  const tokens = await tokenizer.encode(text, { addSpecialTokens: true })
  return { tokens: tokens.subarray(0, most), bosTokenId: tokenizer.bosTokenId }
}

function readVariants(text: string): readonly WeightFormat[] {
  const names = text.split(',').map((name) => name.trim())
  const variants = RANKS.filter((format) => names.includes(format))
  if (variants.length === names.length) return variants
  throw cliError('CLI_BAD_ARGUMENT', {
    param: '--variants',
    details: {
      expected: `--variants with one or more of ${WEIGHT_FORMATS.join(', ')}, each once`,
      got: text,
      next: 'leave it out for f32,bf16,int8,int4',
    },
  })
}

function readCount(flag: string, written: unknown, least: number): number {
  const count = Number(written)
  if (Number.isSafeInteger(count) && count >= least) return count
  const expected = `${flag} to be an integer, at least ${least}`
  const details = { expected, got: String(written), next: 'leave it out for the default' }
  throw cliError('CLI_BAD_ARGUMENT', { param: flag, details })
}

function readText(file: string | undefined): { name: string; text: string } {
  if (file === undefined) return { name: 'of Ingot itself', text: DEFAULT_TEXT }
  try {
    return { name: file, text: readFileSync(file, 'utf8') }
  } catch (cause) {
    const got = cause instanceof Error ? cause.message : String(cause)
    const details = { expected: `--text ${file} to be a text file`, got, next: 'name another' }
    throw cliError('CLI_BAD_ARGUMENT', { param: '--text', details, cause })
  }
}

function machine(): string {
  const [cpu] = cpus()
  return `${cpu?.model.trim() ?? 'unknown CPU'} × ${cpus().length}, ${formatBytes(totalmem())}`
}
