/**
 * `ingot inspect MODEL`: what a model is and what it will need, from its headers alone; no weight is loaded.
 * Prints a report, or JSON with every tensor.
 */

import { basename } from 'node:path'
import { type DescribedLine, describe } from '../config/describe.ts'
import { loadConfig } from '../config/load-config.ts'
import { formatBytes } from '../config/option.ts'
import { planEngine } from '../deployment/engine-plan.ts'
import { exportedKvDtype } from '../deployment/exported-model.ts'
import { type ModelFacts, readModelFacts } from '../deployment/model-facts.ts'
import { type ModelProfile, profileModel } from '../deployment/model-profile.ts'
import type { StoredModel } from '../store/model-store.ts'
import { flagsOf } from './config-flags.ts'
import { openModelAccess } from './model-access.ts'
import { abortOnSignal } from './signals.ts'

const ONLY_IDS = 'the folder has no tokenizer.json: token ids only'

export interface Inspection {
  readonly model: StoredModel
  readonly licence: string
  readonly facts: ModelFacts
  /** Once packed, in the formats that were chosen. */
  readonly weightsBytes: number
  readonly kvDtype: string
  readonly kvBytesPerToken: number
  readonly kvMemoryBytes: number
  readonly maxContextTokens: number
  readonly maxNumSeqs: number
  /** Every choice on this machine. */
  readonly profile: ModelProfile
}

export async function inspectModel(
  written: string | undefined,
  parsed: Readonly<Record<string, unknown>>,
): Promise<void> {
  const configFile = parsed.config as string | undefined
  const { config, hardware } = loadConfig({ configFile, flags: flagsOf(parsed) })
  const access = await openModelAccess(config.store)
  const { signal, stopListening } = abortOnSignal()
  try {
    const reference = access.reference(written ?? config.model.name)
    const model = await access.fetch(reference, { signal })
    const facts = await readModelFacts(model.path)
    const { maxNumSeqs } = config.engine
    const kvDtype =
      facts.exported === null ? config.engine.kvDtype : exportedKvDtype(facts.exported)
    const kvBytesPerToken = facts.kvBytesPerToken(config.engine.kvDtype)
    const { maxContextTokens } = facts.config
    const weightsBytes = facts.planWeights(config.model.weights).packedBytes
    const plan = planEngine(
      config.engine,
      { weightsBytes, kvBytesPerToken, maxContextTokens },
      hardware,
    )
    const licence = reference.entry?.licence ?? facts.licence ?? 'not stated'
    const { kvMemoryBytes } = plan
    const inspection: Inspection = {
      model,
      licence,
      facts,
      weightsBytes,
      kvDtype,
      kvBytesPerToken,
      kvMemoryBytes,
      maxContextTokens: plan.maxContextTokens,
      maxNumSeqs,
      profile: profileModel(facts, hardware),
    }
    const text = parsed.json === true ? inspectionJson(inspection) : inspectionText(inspection)
    process.stdout.write(`${text}\n`)
  } finally {
    stopListening()
    await access.store.close()
  }
}

export function inspectionText(inspection: Inspection): string {
  const { model, facts, licence } = inspection
  const { config, weights, tokenizer } = facts
  const scheme = facts.checkpoint.quantization
  const line = (name: string, value: string | number, reason = ''): DescribedLine => ({
    name,
    value: String(value),
    reason,
  })
  const sections: [title: string, lines: DescribedLine[]][] = [
    [
      'Model',
      [
        line('name', facts.name ?? 'not stated'),
        line('author', facts.author ?? 'not stated'),
        line('licence', licence),
        line('file', `${facts.checkpoint.kind}, ${formatBytes(model.sizeBytes)}`, model.path),
        line('sha256', model.digest),
        line('source', model.source),
      ],
    ],
    [
      'Architecture',
      [
        line('type', config.modelType),
        line('parameters', weights.numParameters.toLocaleString('en')),
        line('layers', config.numLayers),
        line(
          'hidden size',
          config.hiddenSize ?? 'not stated',
          `feed-forward ${config.intermediateSize ?? 'not stated'}`,
        ),
        line(
          'attention heads',
          config.numHeads ?? 'not stated',
          `${config.numKvHeads} for keys and values, ${config.headDim} wide`,
        ),
        line('context', config.maxContextTokens, 'tokens'),
      ],
    ],
    ...exportedSection(facts),
    [
      'Tokenizer',
      [
        line('vocabulary', config.vocabSize, 'tokens'),
        line(
          'pre-tokenizer',
          tokenizer?.preTokenizer ?? 'none',
          tokenizer === null ? ONLY_IDS : '',
        ),
        line('end tokens', (tokenizer?.endTokenIds ?? config.eosTokenIds).join(', ')),
        line('chat templates', [...(tokenizer?.chatTemplates.keys() ?? [])].join(', ') || 'none'),
      ],
    ],
    [
      'Tensors',
      [
        ...weights.formats.map(({ format, numTensors, bytes }) =>
          line(format, formatBytes(bytes), numTensors === 1 ? '1 tensor' : `${numTensors} tensors`),
        ),
        ...(scheme === undefined ? [] : [line('quantized by', scheme)]),
      ],
    ],
    ['Memory as configured', memoryLines(inspection)],
    ['Every choice on this machine', profileLines(inspection.profile)],
  ]
  return sections.map(([title, lines]) => `${title}\n${describe(lines)}`).join('\n\n')
}

/** What runs in an exported folder, and what else could. */
function exportedSection({ exported }: ModelFacts): [title: string, lines: DescribedLine[]][] {
  if (exported === null) return []
  const { layout, producer, opset, graphFile, reason, otherGraphs } = exported
  const past = exported.sharesKvBuffer
    ? 'one buffer for past and present'
    : 'past and present apart'
  const lines: DescribedLine[] = [
    { name: 'graph', value: basename(graphFile), reason },
    { name: 'layout', value: layout, reason: `made by ${producer}, opset ${opset}` },
    { name: 'computes in', value: exported.activations, reason: 'stock ONNX Runtime operators' },
    { name: 'keys and values', value: exported.kvType.toLowerCase(), reason: past },
  ]
  const others = otherGraphs.map((file) => basename(file)).join(', ')
  if (others !== '') lines.push({ name: 'others', value: others, reason: 'give the path of one' })
  return [['Exported graph', lines]]
}

function memoryLines(inspection: Inspection): DescribedLine[] {
  const { facts, weightsBytes, kvDtype, kvBytesPerToken, kvMemoryBytes, maxContextTokens } =
    inspection
  const { bytes } = facts.weights
  return [
    {
      name: 'weights',
      value: formatBytes(weightsBytes),
      reason: `packed in the formats chosen; ${formatBytes(bytes)} as stored`,
    },
    {
      name: 'KV of 1,000 tokens',
      value: formatBytes(kvBytesPerToken * 1000),
      reason: `${kvDtype}, ${kvBytesPerToken} bytes a token`,
    },
    {
      name: 'KV as configured',
      value: formatBytes(kvMemoryBytes),
      reason: `${Math.floor(kvMemoryBytes / kvBytesPerToken)} tokens; ${inspection.maxNumSeqs} sequences at most, ${maxContextTokens} tokens each at most`,
    },
    { name: 'together', value: formatBytes(weightsBytes + kvMemoryBytes), reason: '' },
  ]
}

/** A line for each format of weights, one for each type of KV, and the advice. */
function profileLines({ rows, advised, reason }: ModelProfile): DescribedLine[] {
  const tokens = (count: number) => count.toLocaleString('en')
  const room = (weights: string) =>
    rows
      .filter((row) => row.weights === weights)
      .map(({ kv, roomTokens }) => `${tokens(roomTokens)} tokens of ${kv} KV`)
      .join(' or ')
  const weights = rows.filter(({ kv }) => kv === rows[0]?.kv)
  const kvs = rows.filter((row) => row.weights === rows[0]?.weights)
  return [
    ...weights.map((row) => ({
      name: `--weights ${row.weights}`,
      value: formatBytes(row.weightsBytes),
      reason: row.roomTokens === 0 ? 'does not fit' : `room for ${room(row.weights)}`,
    })),
    ...kvs.map(({ kv, kvBytesPer1000Tokens }) => ({
      name: `--kv-dtype ${kv}`,
      value: formatBytes(kvBytesPer1000Tokens),
      reason: 'for 1,000 tokens',
    })),
    { name: 'advised', value: `--weights ${advised.weights}`, reason },
  ]
}

export function inspectionJson(inspection: Inspection): string {
  const { facts, model, kvBytesPerToken, kvMemoryBytes, kvDtype } = inspection
  const { tokenizer, checkpoint } = facts
  return JSON.stringify(
    {
      model,
      name: facts.name,
      author: facts.author,
      licence: inspection.licence,
      kind: checkpoint.kind,
      quantization: facts.quantization,
      quantizedBy: checkpoint.quantization ?? null,
      architecture: facts.config,
      exported: facts.exported,
      tokenizer: tokenizer && {
        preTokenizer: tokenizer.preTokenizer,
        bosTokenId: tokenizer.bosTokenId,
        eosTokenId: tokenizer.eosTokenId,
        endTokenIds: tokenizer.endTokenIds,
        chatTemplates: Object.fromEntries(tokenizer.chatTemplates),
      },
      weights: facts.weights,
      memory: {
        weightsBytes: inspection.weightsBytes,
        kvDtype,
        kvBytesPerToken,
        kvMemoryBytes,
        maxContextTokens: inspection.maxContextTokens,
      },
      profile: inspection.profile,
      tensors: [...checkpoint.tensors.values()].map(({ name, format, shape, byteLength }) => ({
        name,
        format,
        shape,
        byteLength,
      })),
    },
    null,
    2,
  )
}
