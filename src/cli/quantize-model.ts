/**
 * `ingot quantize SRC -o NAME`: a folder of quantized weights in compressed-tensors layout, with how it was made.
 *
 * Q1 The folder gets its name only once it is whole; whatever ends the command before leaves nothing.
 */

import { copyFile, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { loadNative } from '../../native/loader.ts'
import { SOURCE_WEIGHTS } from '../base/weights-choice.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { type LoadedConfig, loadConfig } from '../config/load-config.ts'
import { formatBytes } from '../config/option.ts'
import { type ModelFacts, readModelFacts } from '../deployment/model-facts.ts'
import { PLAIN_SCHEDULING } from '../engine/scheduling-options.ts'
import { NativeExecutor } from '../execution/native-executor.ts'
import type { StoredModel } from '../store/model-store.ts'
import { createTokenizer } from '../text/tokenizer.ts'
import { type LoadedEngine, loadEngine } from '../worker/load-engine.ts'
import { flagsOf } from './config-flags.ts'
import { cliError } from './errors.ts'
import { openModelAccess } from './model-access.ts'
import { packageFiles } from './package-files.ts'
import { Progress } from './progress.ts'
import { DEFAULT_TEXT } from './quality/default-text.ts'
import {
  type Calibration,
  calibrationOf,
  NUM_WRITTEN,
  WINDOW_TOKENS,
  writtenByModel,
} from './quantize/calibration.ts'
import { isCopied, plainConfig } from './quantize/companions.ts'
import { quantizationConfig, type Recipe } from './quantize/compressed-layout.ts'
import { checkGguf, configJson, tokenizerFiles } from './quantize/gguf-llama.ts'
import { autoGroup, keptLines, type OutputPlan, planOutput } from './quantize/output-plan.ts'
import { TensorFile } from './quantize/tensor-file.ts'
import {
  badArgument,
  checkOutput,
  makeScratch,
  readWishes,
  type Wishes,
} from './quantize/wishes.ts'
import { writeWeights } from './quantize/write-folder.ts'
import { abortOnSignal } from './signals.ts'

/** Prompt tokens that the model's own texts begin with. */
const START_TOKENS = 8
const RECIPE_FILE = 'ingot-quantization.json'

export async function quantizeModel(
  written: string,
  parsed: Readonly<Record<string, unknown>>,
): Promise<void> {
  const loaded = loadConfig({
    configFile: parsed.config as string | undefined,
    flags: flagsOf(parsed),
  })
  const wishes = readWishes(parsed)
  const { signal, stopListening } = abortOnSignal()
  const access = await openModelAccess(loaded.config.store)
  const progress = new Progress()
  let scratch: string | null = null
  try {
    await checkOutput(wishes.output)
    const model = await access.fetch(access.reference(written), { signal })
    const facts = await readModelFacts(model.path)
    const { checkpoint } = facts
    if (checkpoint.kind === 'onnx') {
      throw cannot(
        'a checkpoint with weights',
        'an exported graph',
        'give the model it was exported from',
      )
    }
    if (checkpoint.kind === 'gguf') checkGguf(checkpoint)
    const weights = facts.planWeights(SOURCE_WEIGHTS)
    const group = wishes.group ?? autoGroup(weights) ?? 32
    const recipe: Recipe = { bits: wishes.bits, group, isSymmetric: wishes.isSymmetric }
    const plan = planOutput(checkpoint, weights, recipe)
    scratch = await makeScratch(wishes.output)
    const making = {
      loaded,
      model,
      facts,
      checkpoint,
      wishes,
      recipe,
      plan,
      scratch,
      signal,
      progress,
    }
    const calibration = await makeWeights(making)
    await writeTexts(making, calibration)
    await rename(scratch, wishes.output)
    progress.end()
    process.stdout.write(`${await summary(making, calibration)}\n`)
  } finally {
    progress.end()
    if (scratch !== null) await rm(scratch, { recursive: true, force: true })
    stopListening()
    await access.store.close()
  }
}

interface Making {
  readonly loaded: LoadedConfig
  readonly model: StoredModel
  readonly facts: ModelFacts
  readonly checkpoint: Checkpoint
  readonly wishes: Wishes
  readonly recipe: Recipe
  readonly plan: OutputPlan
  readonly scratch: string
  readonly signal: AbortSignal
  readonly progress: Progress
}

/** @returns the text that was calibrated with; `null` when none was needed */
async function makeWeights(making: Making): Promise<Calibration | null> {
  const { loaded, wishes, plan, recipe, scratch, signal, progress, model } = making
  const engine = wishes.method === 'rtn' ? null : await openEngine(making)
  const file = await TensorFile.create(join(scratch, 'model.safetensors'), plan.stored, {
    format: 'pt',
    'ingot.source': `sha256:${model.digest}`,
    'ingot.method': wishes.method,
  })
  try {
    const calibration = engine === null ? null : await calibrate(engine, making)
    const executor = engine?.executor
    await writeWeights({
      native: loadNative(),
      file,
      plan,
      recipe,
      gptq:
        calibration === null || !(executor instanceof NativeExecutor)
          ? null
          : { executor, calibration },
      threads: loaded.config.engine.threads,
      signal,
      onProgress: (fraction) => progress.fraction('quantizing', fraction),
    })
    await file.close()
    return calibration
  } catch (cause) {
    await file.abandon()
    throw cause
  } finally {
    await engine?.executor.close()
  }
}

function openEngine({ loaded, model, facts, progress }: Making): Promise<LoadedEngine> {
  const { engine, store } = loaded.config
  const contextTokens = Math.min(facts.config.maxContextTokens, 2 * WINDOW_TOKENS)
  return loadEngine(
    {
      checkpointPath: model.path,
      packs: { ...store.packs, modelDigest: model.digest },
      threads: engine.threads,
      activations: 'f32',
      kvDtype: 'f32',
      kvMemoryBytes: facts.kvBytesPerToken('f32') * contextTokens * NUM_WRITTEN,
      blockSize: engine.blockSize,
      maxNumBatchedTokens: engine.maxNumBatchedTokens,
      maxNumSeqs: NUM_WRITTEN,
      maxContextTokens: contextTokens,
      eosTokenIds: [],
      scheduling: PLAIN_SCHEDULING,
    },
    (_, fraction) => progress.fraction('loading', fraction),
  )
}

async function calibrate(engine: LoadedEngine, making: Making): Promise<Calibration> {
  const { facts, wishes, signal, progress } = making
  if (facts.tokenizer === null) {
    throw cannot(
      'a model with a tokenizer, to read a calibration text',
      'token ids only',
      'give --method rtn',
    )
  }
  const tokenizer = createTokenizer(facts.tokenizer, loadNative(), { maxTextBytes: 2 ** 26 })
  const encode = (text: string) => tokenizer.encode(text, { addSpecialTokens: true })
  if (wishes.calibrate !== null) {
    const text = await readFile(wishes.calibrate, 'utf8').catch((cause: Error) => {
      throw badArgument('--calibrate', 'a text file', cause.message, 'name another')
    })
    return calibrationOf('file', [await encode(text)])
  }
  const starts: Int32Array[] = []
  for (const paragraph of DEFAULT_TEXT.split('\n\n').slice(0, NUM_WRITTEN)) {
    starts.push((await encode(paragraph)).slice(0, START_TOKENS))
  }
  const onProgress = (fraction: number) => progress.fraction('writing a calibration text', fraction)
  return writtenByModel(engine, starts, signal, onProgress)
}

/** Configuration, tokenizer, licence, and how the folder was made. */
async function writeTexts(making: Making, calibration: Calibration | null): Promise<void> {
  const { checkpoint, facts, scratch, recipe, plan } = making
  const put = (name: string, value: unknown) =>
    writeFile(
      join(scratch, name),
      typeof value === 'string' ? value : `${JSON.stringify(value, null, 2)}\n`,
    )
  const quantization_config = quantizationConfig(recipe, plan.ignored)
  if (checkpoint.kind === 'gguf') {
    await put('config.json', { ...configJson(checkpoint), quantization_config })
    if (facts.tokenizer !== null) {
      for (const [name, text] of Object.entries(tokenizerFiles(facts.tokenizer)))
        await put(name, text)
    }
  } else {
    const folder = dirname(checkpoint.files[0] ?? '')
    const config = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as object
    await put('config.json', { ...plainConfig(config), quantization_config })
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      if (entry.isDirectory() || !isCopied(entry.name)) continue
      await copyFile(join(folder, entry.name), join(scratch, entry.name))
    }
  }
  await put(RECIPE_FILE, recipeOf(making, calibration))
}

function recipeOf(making: Making, calibration: Calibration | null) {
  const { model, facts, wishes, recipe, plan } = making
  const { version } = packageFiles()
  return {
    kind: 'ingot-quantization',
    version,
    date: new Date().toISOString(),
    source: {
      model: model.source,
      digest: `sha256:${model.digest}`,
      stored: facts.quantization,
      licence: facts.licence,
    },
    layout: 'compressed-tensors pack-quantized',
    ...recipe,
    method:
      wishes.method === 'gptq'
        ? { name: 'gptq', paper: 'arXiv:2210.17323', damping: 0.01, scales: 'least squared error' }
        : { name: 'round to nearest', scales: 'largest magnitude' },
    calibration:
      calibration === null
        ? null
        : {
            kind: calibration.kind,
            tokens: calibration.numTokens,
            windowTokens: WINDOW_TOKENS,
            digest: `sha256:${calibration.digest}`,
          },
    quantizedMatrices: plan.quantized.length,
    notQuantized: plan.ignored,
  }
}

async function summary(making: Making, calibration: Calibration | null): Promise<string> {
  const { wishes, recipe, plan, model } = making
  const { size } = await stat(join(wishes.output, 'model.safetensors'))
  const { bits, group, isSymmetric } = recipe
  const text =
    calibration === null
      ? 'rounded to nearest'
      : `GPTQ on ${calibration.numTokens} tokens ${calibration.kind === 'file' ? `of ${wishes.calibrate}` : 'that the model wrote'}`
  return [
    `${wishes.output}: ${formatBytes(size)}, of ${formatBytes(model.sizeBytes)}`,
    `  ${plan.quantized.length} matrices in int${bits}, groups of ${group}, ${isSymmetric ? 'symmetric' : 'with zero points'}, ${text}`,
    ...keptLines(plan.kept).map((line) => `  ${line}`),
    `  serve it with: ingot serve ${wishes.output}`,
  ].join('\n')
}

function cannot(expected: string, got: string, next: string): Error {
  return cliError('CLI_CANNOT_QUANTIZE', { details: { expected, got, next } })
}
