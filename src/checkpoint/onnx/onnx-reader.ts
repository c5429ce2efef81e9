/**
 * Opens an exported ONNX decoder, a folder or one of its graphs, as a `Checkpoint` without running it.
 *
 *   folder  genai_config.json   model.onnx   *.data                       onnxruntime-genai
 *           config.json         model.onnx, or onnx/model_q4.onnx …      Optimum, onnx-community
 *
 * Owns the order in which files are read. Its tensors stay in the graph's own files, so the index of tensors is empty;
 * what there is lies in `exported`. The metadata are those of `config.json` where there is one, with
 * `genai_config.json` as `genai_config`.
 */

import { stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { ExportedCheckpoint, MetadataValue } from '../checkpoint.ts'
import { checkpointError, exportError, readFailure } from '../errors.ts'
import { type JsonObject, parseJsonObject } from '../safetensors/json-text.ts'
import { exists, readWhole, withFile } from '../safetensors/read-file.ts'
import { chooseGraph, GRAPH_FOLDER, type GraphChoice, listGraphs } from './choose-graph.ts'
import { ConfigNumbers, GENAI_KEYS, HF_KEYS, readSizes } from './decoder-config.ts'
import { CONVENTIONAL_NAMES, genaiNames } from './decoder-names.ts'
import { readSignature } from './decoder-signature.ts'
import type { ExportedDecoder } from './exported-decoder.ts'
import { type OnnxGraph, readGraphFile } from './graph-file.ts'
import { WireReader } from './wire-reader.ts'

const CONFIG = 'config.json'
const GENERATION = 'generation_config.json'
export const GENAI_CONFIG = 'genai_config.json'
const MAX_CONFIG_BYTES = 16 * 1024 * 1024
const GROUP_QUERY_ATTENTION = 'com.microsoft:GroupQueryAttention'

type Table = ReadonlyMap<string, MetadataValue>

/**
 * @throws ServingError of this room for anything the file system or the files' bytes can do
 *
 * Cost: reads the configuration and the graph's structure; no weight.
 */
export async function readOnnxFolder(folder: string): Promise<ExportedCheckpoint> {
  return readExported(folder, null)
}

/** One graph, whose configuration lies beside it, or above it when its folder is named `onnx`. */
export async function readOnnxFile(file: string): Promise<ExportedCheckpoint> {
  const folder = dirname(file)
  const isAbove = basename(folder) === GRAPH_FOLDER && !(await exists(join(folder, CONFIG)))
  return readExported(isAbove ? dirname(folder) : folder, file)
}

async function readExported(folder: string, named: string | null): Promise<ExportedCheckpoint> {
  const genaiFile = join(folder, GENAI_CONFIG)
  const genai = (await exists(genaiFile)) ? await readConfig(genaiFile) : null
  const metadata = await readMetadata(folder, genai)
  const graphs = await listGraphs(folder)
  const choice = await chooseFile(folder, named, graphs, genai)
  const graph = await withFile(choice.graphFile, async (file) =>
    readGraphFile(new WireReader(file)),
  )
  const externalFiles = await checkExternalFiles(choice.graphFile, graph)
  const configFile = genai === null ? join(folder, CONFIG) : genaiFile
  const exported = describe({ choice, graph, configFile, metadata, genai })
  const { size } = await stat(choice.graphFile)
  const totalTensorBytes = externalFiles.reduce((sum, { bytes }) => sum + bytes, size)
  const files = [configFile, choice.graphFile, ...externalFiles.map(({ file }) => file)]
  return { kind: 'onnx', files, metadata, tensors: new Map(), totalTensorBytes, exported }
}

async function chooseFile(
  folder: string,
  named: string | null,
  graphs: readonly string[],
  genai: JsonObject | null,
): Promise<GraphChoice> {
  const others = (file: string) => graphs.filter((graph) => graph !== file)
  if (named !== null) {
    return { graphFile: named, reason: 'the one that was named', otherGraphs: others(named) }
  }
  if (genai === null) return chooseGraph(folder, graphs)
  const decoder = decoderTable(join(folder, GENAI_CONFIG), genai)
  const name = decoder.get('filename') ?? 'model.onnx'
  const isName = typeof name === 'string' && name.length <= 255 && !/[/\\\0]/.test(name)
  if (!isName) {
    const details = { field: 'model.decoder.filename', expected: 'the name of a file beside it' }
    const got = String(name).slice(0, 100)
    throw exportError({ file: join(folder, GENAI_CONFIG), ...details, got, next: 'mend it' })
  }
  const graphFile = join(folder, name)
  return { graphFile, reason: `named by ${GENAI_CONFIG}`, otherGraphs: others(graphFile) }
}

interface Described {
  readonly choice: GraphChoice
  readonly graph: OnnxGraph
  readonly configFile: string
  readonly metadata: JsonObject
  readonly genai: JsonObject | null
}

function describe({ choice, graph, configFile, metadata, genai }: Described): ExportedDecoder {
  const model = genai === null ? null : tableOf(configFile, genai, 'model')
  const decoder = genai === null ? null : decoderTable(configFile, genai)
  if (decoder !== null) refuseGenai(configFile, decoder)
  const names = decoder === null ? CONVENTIONAL_NAMES : genaiNames(configFile, decoder)
  const signature = readSignature(choice.graphFile, graph, names)
  const tables = decoder === null || model === null ? hfTables(metadata) : [decoder, model]
  const numbers = new ConfigNumbers(configFile, tables)
  const sizes = readSizes(numbers, genai === null ? HF_KEYS : GENAI_KEYS, signature)
  const { numLayers } = signature
  const { inputs, outputs, kvType, logitsType, hasLastLogitsOnly, fixedTokens } = signature
  const modelType = (model ?? metadata).get(model === null ? 'model_type' : 'type')
  return {
    layout: genai === null ? 'optimum' : 'genai',
    modelType: typeof modelType === 'string' ? modelType.slice(0, 100) : 'unknown',
    ...choice,
    producer: graph.producer.slice(0, 100) || 'unknown',
    opset: graph.opsets.get('') ?? 0,
    inputs,
    outputs,
    activations: activationsOf(graph, kvType),
    kvType,
    logitsType,
    hasLastLogitsOnly,
    fixedTokens,
    sharesKvBuffer: graph.operators.get(GROUP_QUERY_ATTENTION) === numLayers,
    sizes,
    eosTokenIds: numbers.tokenIds('eos_token_id', sizes.vocabSize),
    weights: graph.weights,
  }
}

/** Operators that quantize what comes into a matrix product. */
const INT8_OPERATORS = [
  'DynamicQuantizeLinear',
  'MatMulInteger',
  'QLinearMatMul',
  'com.microsoft:DynamicQuantizeMatMul',
  'com.microsoft:MatMulIntegerToFloat',
]

function activationsOf(
  { operators, hasInt8Products }: OnnxGraph,
  kvType: ExportedDecoder['kvType'],
): ExportedDecoder['activations'] {
  const isInt8 = hasInt8Products || INT8_OPERATORS.some((name) => operators.has(name))
  if (isInt8) return 'int8'
  return kvType === 'F16' ? 'f16' : 'f32'
}

/** Later tables are asked when earlier ones are silent: a multimodal model's text part, then the whole. */
function hfTables(metadata: JsonObject): readonly Table[] {
  const inner = ['generation_config', 'text_config'].map((key) => metadata.get(key))
  return [...inner.filter((value) => value instanceof Map), metadata] as readonly Table[]
}

/** What of onnxruntime-genai's decoders this runtime does not do; each changes answers when it is ignored. */
function refuseGenai(file: string, decoder: Table): void {
  const refuse = (field: string, got: string) =>
    exportError({
      file,
      field: `model.decoder.${field}`,
      expected: 'none: one graph with its whole past',
      got,
      next: 'export the model for the CPU (-e cpu)',
    })
  if (decoder.get('pipeline') !== undefined) throw refuse('pipeline', 'a decoder in several graphs')
  const window = decoder.get('sliding_window')
  if (!(window instanceof Map)) return
  const slides = ['slide_key_value_cache', 'slide_inputs'].some(
    (key) => (window as Table).get(key) !== false,
  )
  if (slides) throw refuse('sliding_window', 'a cache that slides')
}

function decoderTable(file: string, genai: JsonObject): Table {
  return tableOf(file, tableOf(file, genai, 'model'), 'decoder')
}

function tableOf(file: string, table: Table, key: string): Table {
  const value = table.get(key)
  if (value instanceof Map) return value as Table
  const got = value === undefined ? 'no such key' : 'another value'
  throw exportError({ file, field: key, expected: 'a table', got, next: 'fetch the file again' })
}

async function readMetadata(folder: string, genai: JsonObject | null): Promise<JsonObject> {
  const config = join(folder, CONFIG)
  const isOptional = genai !== null && !(await exists(config))
  const metadata = new Map<string, MetadataValue>(isOptional ? [] : await readConfig(config))
  const generation = join(folder, GENERATION)
  if (await exists(generation)) metadata.set('generation_config', await readConfig(generation))
  if (genai !== null) metadata.set('genai_config', genai)
  return metadata
}

async function readConfig(file: string): Promise<JsonObject> {
  const bytes = await readWhole(file, MAX_CONFIG_BYTES)
  return parseJsonObject(bytes, { file, offset: 0, field: 'configuration' })
}

interface ExternalFile {
  readonly file: string
  readonly bytes: number
}

/** @throws ServingError CHECKPOINT_EXTERNAL_DATA for a file that is absent or too short */
async function checkExternalFiles(
  graphFile: string,
  { externalFiles }: OnnxGraph,
): Promise<readonly ExternalFile[]> {
  const files: ExternalFile[] = []
  for (const [name, needed] of externalFiles) {
    const file = join(dirname(graphFile), name)
    const bytes = await sizeOf(file)
    if (bytes === null || bytes < needed) {
      const got = bytes === null ? 'no file there' : `${bytes} bytes`
      const expected = `${needed} bytes of weights`
      const details = { file: graphFile, data: file, expected, got }
      throw checkpointError('CHECKPOINT_EXTERNAL_DATA', { details })
    }
    files.push({ file, bytes })
  }
  return files
}

/** `null` where no regular file lies. */
async function sizeOf(file: string): Promise<number | null> {
  try {
    const stats = await stat(file)
    return stats.isFile() ? stats.size : null
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw readFailure(file, 0, cause)
  }
}
