/**
 * Quality beside speed: how far each system's answers are from the same weights computed in f32 throughout, on one text,
 * as mean KL divergence and agreement of the likeliest token. Ingot against its own f32 (kernels, activations, KV);
 * llama.cpp against its own f32, through `llama-perplexity`, whose way of counting is taken for both: windows of 256 tokens,
 * of which the second half counts, each begun with the model's own first token where it has one. Owns nothing once it has returned.
 */

import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { loadNative } from '../native/loader.ts'
import { SOURCE_WEIGHTS } from '../src/base/weights-choice.ts'
import { packageFiles } from '../src/cli/package-files.ts'
import { DEFAULT_TEXT } from '../src/cli/quality/default-text.ts'
import { measureVariants, type VariantEngine } from '../src/cli/quality/measure-variants.ts'
import { cutWindows } from '../src/cli/quality/windows.ts'
import { readModelFacts } from '../src/deployment/model-facts.ts'
import { createTokenizer } from '../src/text/tokenizer.ts'
import { loadEngine } from '../src/worker/load-engine.ts'
import type { EngineOptions } from '../src/worker/messages.ts'

export interface Divergence {
  readonly meanKl: number
  /** 0 … 1. */
  readonly topAgreement: number
  /** Standard error of `meanKl`, where the system says it. */
  readonly meanKlError?: number
}

export interface QualityBeside {
  readonly text: string
  readonly windowTokens: number
  readonly ingot: Divergence
  /** `null` when it was not installed. */
  readonly llamaCpp: Divergence | null
}

export interface QualityOptions {
  /** As Ingot is measured. */
  readonly engine: EngineOptions
  readonly peersFolder: string
}

const WINDOW_TOKENS = 256
/** Together about 3,600 tokens. */
const TEXT_NAME = 'default text of ingot bench quality, then the licence'
const run = promisify(execFile)

export async function measureQuality(options: QualityOptions): Promise<QualityBeside> {
  const ingot = await ingotDivergence(options.engine)
  const llamaCpp = await llamaDivergence(options)
  return {
    text: TEXT_NAME,
    windowTokens: WINDOW_TOKENS,
    ingot,
    llamaCpp,
  }
}

function measuredText(): string {
  const licence = readFileSync(join(packageFiles().root, 'LICENSE'), 'utf8')
  return `${DEFAULT_TEXT}\n\n${licence.replace(/\s+/g, ' ')}`
}

async function ingotDivergence(engine: EngineOptions): Promise<Divergence> {
  const facts = await readModelFacts(engine.checkpointPath)
  if (facts.tokenizer === null) throw new Error('quality needs a model with a tokenizer')
  const tokenizer = createTokenizer(facts.tokenizer, loadNative())
  const tokens = await tokenizer.encode(measuredText(), { addSpecialTokens: true })
  const windows = cutWindows(tokens, WINDOW_TOKENS, tokenizer.bosTokenId).filter(
    ({ length }) => length === WINDOW_TOKENS,
  )
  const limits = { maxNumSeqs: 1, maxContextTokens: WINDOW_TOKENS + engine.blockSize }
  const open = async (variant: string): Promise<VariantEngine> => {
    const isReference = variant === 'f32'
    const exact = {
      weights: { ...SOURCE_WEIGHTS, format: 'f32' as const },
      activations: 'f32' as const,
      kvDtype: 'f32' as const,
    }
    const loaded = await loadEngine({ ...engine, ...limits, ...(isReference ? exact : {}) })
    const { executor, description } = loaded
    const { weightsBytes, kvBytesPerToken } = description
    const close = () => executor.close()
    return { executor, weightsBytes, kvBytesPerToken, computesIn: variant, close }
  }
  const [, measured] = await measureVariants(['f32', 'as served'], {
    windows,
    firstScored: WINDOW_TOKENS / 2,
    prefillTokens: 16,
    decodeTokens: 1,
    rounds: 1,
    signal: new AbortController().signal,
    open,
    onProgress: () => {},
  })
  return {
    meanKl: measured?.meanKl ?? Number.NaN,
    topAgreement: measured?.topAgreement ?? Number.NaN,
    ...(measured?.meanKlError == null ? {} : { meanKlError: measured.meanKlError }),
  }
}

async function llamaDivergence({
  engine,
  peersFolder,
}: QualityOptions): Promise<Divergence | null> {
  const binaries = join(peersFolder, 'llama.cpp/build/bin')
  const perplexity = join(binaries, 'llama-perplexity')
  if (!existsSync(perplexity)) return null
  const folder = await mkdtemp(join(tmpdir(), 'ingot-quality-'))
  try {
    const [text, exact, base] = ['text', 'f32.gguf', 'base'].map((name) => join(folder, name))
    const { checkpointPath: model, threads } = engine
    await writeFile(text as string, measuredText())
    await run(join(binaries, 'llama-quantize'), [
      ...['--allow-requantize', '--pure', model, exact as string, 'F32', `${threads}`],
    ])
    const common = ['-f', text, '-t', threads, '-c', WINDOW_TOKENS, '-b', WINDOW_TOKENS].map(String)
    const reference = ['-m', exact, '-ctk', 'f32', '-ctv', 'f32', '--kl-divergence-base', base]
    await run(perplexity, [...reference.map(String), ...common])
    const tested = ['-m', model, '--kl-divergence-base', base, '--kl-divergence'].map(String)
    const { stdout, stderr } = await run(perplexity, [...tested, ...common])
    return readDivergence(stdout + stderr)
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** @param text - what `llama-perplexity --kl-divergence` prints */
export function readDivergence(text: string): Divergence {
  const [, meanKl, error] = /Mean\s+KLD:\s+(-?[\d.]+)\s*±\s*([\d.]+)/.exec(text) ?? []
  const same = /Same top p:\s+([\d.]+)/.exec(text)?.[1]
  if (meanKl === undefined || same === undefined) {
    throw new Error(`llama-perplexity printed no divergence: ${text.slice(-500)}`)
  }
  const meanKlError = Number(error)
  return { meanKl: Number(meanKl), topAgreement: Number(same) / 100, meanKlError }
}

export function formatQuality({ ingot, llamaCpp, windowTokens }: QualityBeside): string {
  const of = (name: string, { meanKl, topAgreement, meanKlError }: Divergence) =>
    `${name}: mean KL to f32 ${meanKl.toFixed(5)}${meanKlError === undefined ? '' : ` ± ${meanKlError.toFixed(5)}`}, same likeliest token ${(100 * topAgreement).toFixed(1)} %`
  const peer =
    llamaCpp === null ? 'llama.cpp: llama-perplexity is not built' : of('llama.cpp', llamaCpp)
  return `quality, same weights, windows of ${windowTokens}: ${of('ingot', ingot)}; ${peer}`
}
